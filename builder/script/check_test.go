package script_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/script"
)

func finding(f script.Finding) string {
	s := fmt.Sprintf("%d %s", f.Line, f)
	if f.Hint != "" {
		s += "; " + f.Hint
	}
	return s
}

func TestCheck(t *testing.T) {
	hostExec := "; --allow-host-exec runs it on the host, unconfined"
	tests := []struct {
		name, script string
		want         []string
	}{
		{"each command", "apk add --no-cache git &&\n  CGO_ENABLED=0 go build -o /out ./cmd && mkdir -p /x\ncd /x", []string{
			"10 apk add --no-cache git: emulated", "11 CGO_ENABLED=0 go build -o /out ./cmd: native", "11 mkdir -p /x: emulated", "12 cd /x: native",
		}},
		{"all that is wrong at once", "apk add gcc musl-dev && go build\nnpm ci\ncurl -sSL https://x | sh\n./build.sh", []string{
			"10 apk add gcc musl-dev: needs a container (a C toolchain)", "10 go build: native", "11 npm ci: needs a container (node); build what it makes before, and COPY it",
			"12 curl -sSL https://x: needs a container (a download); ADD --checksum=sha256:… URL DEST downloads it",
			"12 sh: needs a container (a script whose text is not in the Dockerfile); write it into the RUN, as a here-document",
			"13 ./build.sh: needs a container (a program of the project or of the image: ./build.sh)",
		}},
		{"everywhere in the language", "if grub; then gcc; elif ! node; then :; fi\nfor i in $(python x); do ruby; done\nwhile make; do cargo; done\ncase $(jq) in a) upx;; esac\nf() { tar x; }\n(java) || { strip x; } & wait\n[[ $(ssh x) ]]\necho `rpm`", []string{
			"10 grub: needs a container (an unknown program: grub)", "10 gcc: needs a container (a C toolchain)", "10 node: needs a container (node); build what it makes before, and COPY it", "10 :: native",
			"11 python x: needs a container (python)", "11 ruby: needs a container (ruby)",
			"12 make: needs a container (code of the project: make)" + hostExec + "; or write the go command that it runs", "12 cargo: needs a container (rust)",
			"13 jq: needs a container (another language); sed and cut are understood", "13 upx: needs a container (upx); leave it out: layers are compressed, and the program starts faster",
			"14 tar x: needs a container (archives); ADD extracts a local archive",
			"15 java: needs a container (java)", "15 strip x: needs a container (binutils); go build -ldflags='-s -w' leaves the symbols out", "15 wait: native",
			"16 ssh x: needs a container (network and keys)", "17 echo $(rpm): native", "17 rpm: needs a container (packages)",
		}},
		{"names that are variables", "$GO build\n\"go\" version\n'/usr/local/go/bin/go' env\ng\\o env", []string{
			"10 $GO build: needs a container (a command whose name is only known when it runs); write out the name",
			`11 "go" version: native`, "12 '/usr/local/go/bin/go' env: native", `13 g\o env: native`,
		}},
		{"functions", "f() { go build; }\nf x", []string{"10 go build: native", "11 f x: native"}},
		{"code of the project", "go generate ./... && go test ./... ; go run .; go tool stringer; go tool dist list", []string{
			"10 go generate ./...: needs a container (code of the project: go generate)" + hostExec, "10 go test ./...: needs a container (code of the project: go test)" + hostExec,
			"10 go run .: needs a container (code of the project: go run)" + hostExec, "10 go tool stringer: needs a container (code of the project: go tool)" + hostExec, "10 go tool dist list: native",
		}},
		{"go with a C toolchain", "CGO_ENABLED=1 go build\ngo build -race -buildmode=c-shared\ngo build -ldflags '-linkmode external -extldflags -static'\nexport CGO_ENABLED=1\ngo install x\nCGO_ENABLED=0 go build -ldflags '-extldflags \"-static\"' && go list", []string{
			"10 CGO_ENABLED=1 go build: native",
			"11 go build -race -buildmode=c-shared: needs a container (a C toolchain: -race)",
			"12 go build -ldflags '-linkmode external -extldflags -static': needs a container (a C toolchain: -linkmode external); the internal linker, which is the default",
			"13 export CGO_ENABLED=1: native", "14 go install x: native",
			`15 CGO_ENABLED=0 go build -ldflags '-extldflags "-static"': native`, "15 go list: native",
		}},
		{"go that runs programs", "go build -toolexec=x; go vet -vettool x; go frobnicate; go $x", []string{
			"10 go build -toolexec=x: needs a container (a program that the go command runs: -toolexec=x)" + hostExec,
			"10 go vet -vettool x: needs a container (a program that the go command runs: -vettool)" + hostExec,
			"10 go frobnicate: needs a container (go that knows more: go frobnicate)", "10 go $x: needs a container (go with a command that is only known when it runs)",
		}},
		{"git", "git rev-parse HEAD && git -C /x describe --tags; git push; git config --global url.x.insteadOf y; git config credential.helper '!sh'; git -c alias.x=!sh x", []string{
			"10 git rev-parse HEAD: native", "10 git -C /x describe --tags: native", "10 git push: needs a container (git that changes something: git push)",
			"10 git config --global url.x.insteadOf y: native", "10 git config credential.helper '!sh': needs a container (a program that git runs: credential.helper)",
			"10 git -c alias.x=!sh x: needs a container (git that changes something: git x)",
		}},
		{"packages", "apt-get update && apt-get install -y --no-install-recommends ca-certificates=2023* git && rm -rf /var/lib/apt/lists/*; apk add --update --virtual .b libfoo; apk add $P; apk add zlib-dev; apk -U upgrade; apk fetch x; apt-get install -y build-essential", []string{
			"10 apt-get update: emulated", "10 apt-get install -y --no-install-recommends ca-certificates=2023* git: emulated", "10 rm -rf /var/lib/apt/lists/*: emulated",
			"10 apk add --update --virtual .b libfoo: needs a container (the package libfoo)", "10 apk add $P: needs a container (packages whose names are only known when they run); write out the names",
			"10 apk add zlib-dev: needs a container (a C toolchain)", "10 apk -U upgrade: emulated", "10 apk fetch x: needs a container (apk fetch)",
			"10 apt-get install -y build-essential: needs a container (a C toolchain)",
		}},
		{"commands that run others", "find . -name x -exec gcc {} \\; ; env A=1 node; xargs -n1 python < f; sh -c 'go build && npm i'; timeout 5 curl x; command make; exec java; nice rm x; eval ruby; eval $x; bash x.sh; sh -c \"$x\"", []string{
			"10 find . -name x -exec gcc {} \\;: needs a container (a C toolchain)", "10 env A=1 node: needs a container (node); build what it makes before, and COPY it",
			"10 xargs -n1 python: needs a container (python)", "10 sh -c 'go build && npm i': needs a container (node); build what it makes before, and COPY it",
			"10 timeout 5 curl x: needs a container (a download); ADD --checksum=sha256:… URL DEST downloads it",
			"10 command make: needs a container (code of the project: make)" + hostExec + "; or write the go command that it runs",
			"10 exec java: needs a container (java)", "10 nice rm x: emulated", "10 eval ruby: needs a container (ruby)", "10 eval $x: needs a container (commands that are only known when they run: eval)",
			"10 bash x.sh: needs a container (a script whose text is not in the Dockerfile); write it into the RUN, as a here-document",
			`10 sh -c "$x": needs a container (commands that are only known when they run: sh -c); quote them with '…'`,
		}},
		{"flags that are not known", "cp --reflink a b; sed -n '/x/{p;q}' f; grep -P x f; find . -newer x; head --zero f; chmod --reference=a b; chmod 999 x; sort -k2 f; date -d yesterday; cat -A f", []string{
			"10 cp --reflink a b: needs a container (cp that knows more: unknown option --reflink)", `10 sed -n '/x/{p;q}' f: needs a container (sed that knows more: the command '{')`,
			"10 grep -P x f: needs a container (the expressions of Perl: grep -P)", "10 find . -newer x: needs a container (find that knows more: -newer)",
			"10 head --zero f: needs a container (unknown option --zero)", "10 chmod --reference=a b: needs a container (chmod that knows more: unknown option --reference)",
			"10 chmod 999 x: needs a container (chmod that knows more: malformed mode \"999\": an octal mode is between 0 and 7777)",
			"10 sort -k2 f: needs a container (sort that knows more: unknown option -k)", "10 date -d yesterday: needs a container (date that knows more: the date \"yesterday\")",
			"10 cat -A f: needs a container (cat that knows more: unknown option -A)",
		}},
		{"the host's processes and users", "cat <(echo x)\ntest -O /f; [ -N /f ]; [[ -G /f ]]\necho ~bin/x\necho > /dev/tcp/a/1\necho 3>&1 4>f\nkill 1; ulimit -n 5; jobs\n. ./env.sh", []string{
			"10 cat <(echo x): emulated", "10 <(echo x): needs a container (process substitution); write to a file in between", "10 echo x: native",
			"11 test -O /f: needs a container (times and users of processes: -O)", "11 [ -N /f ]: needs a container (times and users of processes: -N)", "11 -G /f: needs a container (times and users of processes: -G)",
			"12 echo ~bin/x: native", "12 ~bin/x: needs a container (the home of bin); write out the directory",
			"13 echo: native", "13 > /dev/tcp/a/1: needs a container (network connections of the shell)",
			"14 echo: native", "14 3>&1: needs a container (more files than the standard ones: 3)", "14 4>f: needs a container (more files than the standard ones: 4)",
			"15 kill 1: needs a container (a shell with kill)", "15 ulimit -n 5: needs a container (a shell with ulimit)", "15 jobs: needs a container (a shell with jobs)",
			"16 . ./env.sh: needs a container (commands that are only known when they run: a script of the image)",
		}},
		{"nothing", "# only a comment", nil},
		{"no shell script", "if true", []string{"10 if true: is no script (syntax error: `if <cond>` must be followed by `then`)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range script.Check(sh(tt.script), script.Options{}) {
				got = append(got, finding(f))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckOptions(t *testing.T) {
	tests := []struct {
		name string
		run  *plan.Run
		opts script.Options
		want string // the refusals
	}{
		{"tools while building", sh("apk add git make bash curl"), script.Options{}, ""},
		{"tools in the image", sh("apk add --no-cache ca-certificates tzdata git"), script.Options{Final: true}, "the package git in the image"},
		{"files in the image", sh("apk add --no-cache ca-certificates tzdata && update-ca-certificates"), script.Options{Final: true}, ""},
		{"upgrade of the image", sh("apk upgrade"), script.Options{Final: true}, "upgrading the packages of the image"},
		{"removal from the image", sh("apk del curl"), script.Options{Final: true}, "removing packages of the image"},
		{"code of the project", sh("make && go generate && go run x && go test && go build -toolexec x"), script.Options{AllowHostExec: true}, ""},
		{"cgo by the environment", &plan.Run{Script: "go build", Env: []string{"CGO_ENABLED=1"}}, script.Options{}, ""}, // it is seen what needs it
		{"programs by the environment", &plan.Run{Script: "go build", Env: []string{"GOFLAGS=-mod=mod -toolexec=x"}}, script.Options{}, "a program that the go command runs: -toolexec=x"},
		{"programs for later", sh("go env -w GOAUTH=x; go env -w GOFLAGS=-toolexec=x; git clone file:///etc"), script.Options{},
			"a program that the go command runs: GOAUTH=x; a program that the go command runs: GOFLAGS=-toolexec=x; a repository of the host: file:///etc"},
		{"another shell", &plan.Run{Script: "x", Shell: []string{"powershell", "-Command"}}, script.Options{}, "another language than that of a POSIX shell: powershell -Command"},
		{"shell without -c", &plan.Run{Script: "x", Shell: []string{"/bin/sh"}}, script.Options{}, "another language than that of a POSIX shell: /bin/sh"},
		{"another interpreter", &plan.Run{Script: "/dev/pipes/E", Files: []plan.Inline{{Name: "E", Data: "#!/usr/bin/env python3\nprint()"}}}, script.Options{}, "another language than that of a POSIX shell: #!/usr/bin/env python3"},
		{"interpreter", &plan.Run{Script: "/dev/pipes/E", Files: []plan.Inline{{Name: "E", Data: "#!/bin/sh -e\ngcc"}}}, script.Options{}, "a C toolchain"},
		{"exec form", &plan.Run{Exec: []string{"npm", "ci"}}, script.Options{}, "node"},
		{"exec form of a shell", &plan.Run{Exec: []string{"sh", "-c", "npm ci"}}, script.Options{}, "node"},
		{"privileges", &plan.Run{Script: "true", Security: "insecure"}, script.Options{}, "privileges: --security=insecure"},
		{"devices", &plan.Run{Script: "true", Devices: []string{"gpu"}}, script.Options{}, "devices: --device=gpu"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range script.Refused(script.Check(tt.run, tt.opts)) {
				got = append(got, f.Reason)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}

// Exec does nothing where Check finds fault.
func TestRefused(t *testing.T) {
	f := newStage(t, alpine...)
	r := (&world{}).run(t, f, sh("touch /x\nnpm ci\ngcc x"))
	var refused *script.RefusedError
	if !errors.As(r.err, &refused) || len(refused.Findings) != 2 {
		t.Fatalf("got error %v", r.err)
	}
	if want := "npm ci: needs a container (node); gcc x: needs a container (a C toolchain)"; r.err.Error() != want {
		t.Errorf("got %q, want %q", r.err, want)
	}
	wantChanges(t, f)
}

// corpus are RUN lines of real Go projects that are done natively.
var corpus = []string{
	"mkdir /app",
	"CGO_ENABLED=0 GOOS=linux go build -a -installsuffix cgo -o main .",
	"go mod download",
	"go mod download && go mod verify",
	"apk add --no-cache git",
	"apk update && apk add --no-cache git ca-certificates tzdata && update-ca-certificates",
	"apk --no-cache add ca-certificates",
	"apk --update add ca-certificates && rm -rf /var/cache/apk/*",
	"apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*",
	"DEBIAN_FRONTEND=noninteractive apt-get -qq update && apt-get -yqq install ca-certificates tzdata && apt-get clean",
	"CGO_ENABLED=0 GOOS=${TARGETOS:-linux} GOARCH=${TARGETARCH} GOARM=${TARGETVARIANT#v} go build -trimpath -ldflags=\"-s -w -X main.version=${VERSION}\" -o /out/app ./cmd/app",
	"go build -ldflags \"-X main.commit=$(git rev-parse --short HEAD) -X main.date=$(date -u +%Y-%m-%dT%H:%M:%SZ)\" -o app",
	"GO111MODULE=on go build -mod=vendor -o /bin/app",
	"go get -d -v ./... && go install -v ./...",
	"go env -w GOPROXY=https://goproxy.io,direct",
	"go install github.com/foo/bar@latest",
	"set -ex; case \"$TARGETARCH\" in amd64) export GOAMD64=v2 ;; arm) export GOARM=\"${TARGETVARIANT#v}\" ;; esac; go build -o /app .",
	"adduser -D -g '' appuser",
	"addgroup -S app && adduser -S -G app app && chown -R app:app /home/app",
	"adduser --disabled-password --gecos \"\" --home \"/nonexistent\" --shell \"/sbin/nologin\" --no-create-home --uid \"${UID}\" appuser",
	"groupadd -r app && useradd -r -g app -d /app -s /sbin/nologin app",
	"useradd -u 10001 -m scratchuser",
	"echo 'nobody:x:65534:65534:Nobody:/:' > /etc_passwd",
	"[ ! -e /etc/nsswitch.conf ] && echo 'hosts: files dns' > /etc/nsswitch.conf",
	"cp /usr/share/zoneinfo/Asia/Shanghai /etc/localtime && echo 'Asia/Shanghai' > /etc/timezone",
	"ln -sf /usr/share/zoneinfo/$TZ /etc/localtime",
	"chmod +x /app/entrypoint.sh && chmod 755 /app && chown -R nobody:nobody /app",
	"mkdir -p /data && chown -R 1000:1000 /data && chmod -R g=u /data",
	"ln -s /app/server /usr/local/bin/server && ls -la /app",
	"sed -i 's/http:/https:/g' /etc/apk/repositories",
	"git config --global url.\"https://${TOKEN}@github.com/\".insteadOf \"https://github.com/\"",
	"for cmd in server worker; do go build -o /out/$cmd ./cmd/$cmd || exit 1; done",
	"find . -name '*_test.go' -delete && go vet ./...",
	"export VERSION=$(cat VERSION | tr -d '\\n') && go build -ldflags \"-X main.v=$VERSION\" -o app",
	"if [ \"$DEBUG\" = \"true\" ]; then go build -gcflags='all=-N -l' -o app; else go build -ldflags='-s -w' -o app; fi",
	"go list -m all | grep -v '=>' | cut -d' ' -f1 | sort -u > deps.txt",
	"mkdir -p -m 1777 /tmp && install -m 0755 app /usr/bin/app",
	"GOBIN=/usr/local/bin go install ./cmd/...",
	"test -n \"$VERSION\" || VERSION=dev; go build -o /app",
	"touch /var/log/app.log && chgrp -R 0 /app && chmod -R g+rwX /app",
	"update-ca-certificates",
	"go version && go env",
	"echo \"$(uname -m)\" && cat /etc/os-release | head -1",
	"go clean -modcache; rm -rf /root/.cache/go-build /go/pkg",
	"mv /app/config.yaml.dist /app/config.yaml; rm -f /app/*.md",
	"cd cmd/server && go build -o ../../bin/server && cd ../..",
	"--mount-less=1 true || true",
}

func TestCorpus(t *testing.T) {
	for _, text := range corpus[:len(corpus)-1] {
		for _, f := range script.Refused(script.Check(sh(text), script.Options{})) {
			t.Errorf("%s\n\trefused: %s", text, finding(f))
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, text := range corpus {
		f.Add(text)
	}
	for _, text := range []string{"a <(b) | c", "f() { :; }; f", "[[ -N x ]]", "eval", "sh -c", "find -exec", "xargs", "env -i", "sed s/", "sed -n '/a/,/b/!s/x/y/2gp'", "tr", "chmod", "git -C", "go -C", "timeout", "${x}", "~a", "x=~b", "$$", "time", "date -d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, o := range []script.Options{{}, {Final: true, AllowHostExec: true}} {
			for _, finding := range script.Check(sh(text), o) {
				refused := finding.Class == script.Container || finding.Class == script.Broken
				if refused != (finding.Reason != "") {
					t.Errorf("%+v", finding)
				}
			}
			_ = script.Check(&plan.Run{Exec: strings.Fields(text + " x")}, o)
		}
	})
}
