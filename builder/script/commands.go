package script

import "strings"

// command is a program that this package knows.
type command struct {
	flags flagSpec
	// native is set for what the host runs.
	native bool
	// check says what is wrong with the arguments; without it, only the flags
	// are looked at.
	check func(c *checker, args []word) *refusal
	// run carries it out and returns its exit status. Where check is set, it
	// looks at the arguments itself.
	run func(c *call) int
}

// commandOf finds a program by its name.
func commandOf(name string) (command, bool) {
	for _, table := range []map[string]command{
		fileCommands, copyCommands, ownCommands, textCommands, outputCommands, searchCommands, infoCommands,
		userCommands, packageCommands, hostCommands, wrapCommands(),
	} {
		if c, ok := table[name]; ok {
			return c, true
		}
	}
	return command{}, false
}

// unknownProgram says what is missing of a program that is not known.
func unknownProgram(name string, builtin bool) *refusal {
	if r, ok := unknown[name]; ok {
		return &r
	}
	if builtin {
		return &refusal{"a shell with " + name, ""}
	}
	return &refusal{"an unknown program: " + name, ""}
}

const (
	hintDownload = "ADD --checksum=sha256:… URL DEST downloads it"
	hintGenerate = "generate the code before, and keep it in the repository"
)

// unknown are programs with something to say about them.
var unknown = byName([]reasons{
	{"a C toolchain", "",
		"gcc g++ cc c++ clang clang++ ld ar cmake ninja pkg-config autoconf automake configure xx-clang xx-go xx-apk xx-apt xx-verify musl-gcc"},
	{"node", "build what it makes before, and COPY it",
		"node npm npx yarn pnpm bun deno corepack"},
	{"python", "",
		"python python3 pip pip3 poetry uv"},
	{"ruby", "",
		"ruby gem bundle"},
	{"java", "",
		"java javac mvn gradle"},
	{"rust", "",
		"cargo rustc rustup"},
	{"a generator of code", hintGenerate,
		"protoc buf swag sqlc templ mockgen wire stringer go-bindata statik packr2 rice"},
	{"a download", hintDownload,
		"curl wget aria2c"},
	{"archives", "ADD extracts a local archive",
		"tar unzip gunzip unxz bunzip2 unzstd gzip xz bzip2 zstd zip cpio"},
	{"upx", "leave it out: layers are compressed, and the program starts faster",
		"upx"},
	{"binutils", "go build -ldflags='-s -w' leaves the symbols out",
		"strip objcopy"},
	{"file capabilities", "",
		"setcap getcap setfattr"},
	{"another language", "sed and cut are understood",
		"awk gawk mawk perl jq yq"},
	{"another user", "USER chooses the user",
		"sudo su su-exec gosu chroot setpriv runuser"},
	{"a system", "",
		"docker podman systemctl service mount umount sysctl modprobe iptables dbus-uuidgen"},
	{"packages", "",
		"yum dnf microdnf zypper pacman apk-tools dpkg-reconfigure rpm"},
	{"an image with users to change", "",
		"passwd chpasswd userdel groupdel deluser delgroup groupmod chage chsh"},
	{"binutils", "",
		"ldd file readelf objdump nm strings ldconfig"},
	{"network and keys", "",
		"openssl gpg ssh-keygen ssh-keyscan ssh scp rsync"},
	{"a tool that is not part of Go", "run it before the build",
		"golangci-lint staticcheck govulncheck gosec golint gotestsum ginkgo dep glide govendor mage task just goreleaser ko dlv air"},
})

// reasons has what is to be said about several names.
type reasons struct{ reason, hint, names string }

func byName(all []reasons) map[string]refusal {
	m := map[string]refusal{}
	for _, r := range all {
		for name := range strings.FieldsSeq(r.names) {
			m[name] = refusal{r.reason, r.hint}
		}
	}
	return m
}
