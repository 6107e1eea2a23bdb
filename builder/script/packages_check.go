package script

import (
	"fmt"
	"slices"
	"strings"
)

// packageKind says what a package means for a stage.
type packageKind int

const (
	// unknownPackage has to be installed.
	unknownPackage packageKind = iota
	// certificates and zones are files that the host has.
	certificates
	zones
	// tool is only used by commands, and those say themselves what they need.
	tool
)

// packageKinds are those of Alpine and Debian that are known.
var packageKinds = kindsByName(map[packageKind]string{
	certificates: "ca-certificates ca-certificates-bundle",
	zones:        "tzdata",
	tool: "git git-lfs git-daemon make bash bash-completion busybox busybox-extras busybox-suid coreutils findutils diffutils grep sed gawk " +
		"curl wget openssh openssh-client openssh-client-default openssl ssh-client tar gzip zip unzip xz xz-utils bzip2 zstd file jq " +
		"apt-transport-https apt-utils gnupg gnupg2 lsb-release software-properties-common less vim nano tree procps util-linux " +
		"shadow su-exec gosu tini dumb-init libcap libcap-utils mercurial subversion bzr svn go golang golang-go upx patch rsync " +
		"iputils iproute2 net-tools dnsutils bind-tools netcat-openbsd locales sudo which musl-utils ncurses lsof strace socat mailcap",
})

func kindsByName(all map[packageKind]string) map[string]packageKind {
	m := map[string]packageKind{}
	for kind, names := range all {
		for name := range strings.FieldsSeq(names) {
			m[name] = kind
		}
	}
	return m
}

// needs are packages with something to say about them.
var needs = byName([]reasons{
	{"a C toolchain", "", "gcc g++ cpp musl-dev libc-dev libc6-dev build-base build-essential clang clang-dev lld llvm binutils binutils-gold cmake ninja " +
		"pkgconf pkgconfig pkg-config autoconf automake libtool gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-multilib linux-headers alpine-sdk " +
		"zlib-dev openssl-dev libssl-dev sqlite-dev libsqlite3-dev libpcap-dev librdkafka-dev vips-dev libgit2-dev"},
	{"node", "", "nodejs nodejs-current npm yarn"},
	{"python", "", "python python3 py-pip py3-pip python3-pip python3-dev"},
	{"a generator of code", "", "protobuf protobuf-dev protobuf-compiler protoc"},
	{"java", "", "openjdk8 openjdk11 openjdk17 openjdk21 default-jre default-jdk"},
})

// checkPackages says whether packages can be had without installing them.
func (c *checker) checkPackages(names []word) *refusal {
	for _, w := range names {
		if !w.known {
			return &refusal{"packages whose names are only known when they run", "write out the names"}
		}
		name := packageName(w.text)
		r, isNeeded := needs[name]
		kind := packageKinds[name]
		switch {
		case isNeeded:
			return &r
		case strings.HasSuffix(name, "-dev"):
			return &refusal{reason: "a C toolchain"}
		case kind == unknownPackage:
			return &refusal{"the package " + name, ""}
		case kind == tool && c.Final:
			return &refusal{"the package " + name + " in the image", "a base that has it"}
		}
	}
	return nil
}

// packageName leaves out versions and architectures: "git=~2.40", "tzdata@edge",
// "libc6:amd64".
func packageName(s string) string {
	if i := strings.IndexAny(s, "=<>~@:"); i > 0 {
		s = s[:i]
	}
	return s
}

var apkFlags = flagSpec{
	short: "qUt:p:X:fivVnAC:W:",
	long: map[string]string{
		"no-cache": "n", "update-cache": "U", "update": "U", "quiet": "q", "virtual": "t", "root": "p", "repository": "X", "force": "f",
		"no-progress": "n", "latest": "n", "upgrade": "n", "allow-untrusted": "n", "purge": "n", "rdepends": "n", "available": "n",
		"no-network": "n", "no-scripts": "n", "print-arch": "A", "interactive": "i", "verbose": "v", "cache-dir": "C", "wait": "W",
		"force-overwrite": "n", "force-broken-world": "n", "clean-protected": "n",
	},
}

var aptFlags = flagSpec{
	short: "yqt:o:fmVn",
	long: map[string]string{
		"yes": "y", "assume-yes": "y", "no-install-recommends": "n", "no-install-suggests": "n", "quiet": "q", "fix-missing": "n",
		"allow-unauthenticated": "n", "force-yes": "n", "purge": "n", "auto-remove": "n", "target-release": "t", "option": "o",
		"only-upgrade": "n", "reinstall": "n", "allow-releaseinfo-change": "n", "fix-broken": "n", "no-upgrade": "n",
	},
}

func checkApk(c *checker, args []word) *refusal {
	f, err := apkFlags.parse(args)
	if err != nil {
		return &refusal{"apk that knows more: " + err.Error(), ""}
	}
	if f.has('p') {
		return &refusal{"packages below another root: apk --root", ""}
	}
	if len(f.operands) == 0 {
		return nil
	}
	if !f.operands[0].known {
		return &refusal{"apk with a command that is only known when it runs", ""}
	}
	return c.packageCommand("apk", f.operands[0].text, f.operands[1:])
}

func checkApt(c *checker, args []word) *refusal {
	f, err := aptFlags.parse(args)
	if err != nil {
		return &refusal{"apt that knows more: " + err.Error(), ""}
	}
	if len(f.operands) == 0 {
		return nil
	}
	if !f.operands[0].known {
		return &refusal{"apt with a command that is only known when it runs", ""}
	}
	return c.packageCommand("apt-get", f.operands[0].text, f.operands[1:])
}

// packageCommand checks what a package manager is to do.
func (c *checker) packageCommand(program, verb string, names []word) *refusal {
	switch verb {
	case "add", "install":
		return c.checkPackages(names)
	case "update", "clean", "autoclean", "cache", "autoremove", "info", "list", "search", "show", "version", "policy", "fix":
		return nil
	case "del", "remove", "purge":
		if !c.Final {
			return nil
		}
		return &refusal{"removing packages of the image", "a base that does not have them"}
	case "upgrade", "dist-upgrade", "full-upgrade":
		if !c.Final {
			return nil
		}
		return &refusal{"upgrading the packages of the image", "a newer base has them"}
	}
	return &refusal{fmt.Sprintf("%s %s", program, verb), ""}
}

// installed are the kinds of packages that a call asks for.
func installed(names []string) []packageKind {
	var kinds []packageKind
	for _, n := range names {
		if k := packageKinds[packageName(n)]; !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}
