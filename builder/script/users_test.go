package script_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// added are the lines that databases have more than before, and the other files
// that changed, without backups.
func added(t *testing.T, f *rootfs.FS, below []string) []string {
	t.Helper()
	got, err := rootfstest.Changes(f, nil)
	must(t, err)
	before := rootfstest.NewTree(below...).Contents
	var lines []string
	for _, text := range got {
		if strings.HasPrefix(text, "deleted ") {
			lines = append(lines, text)
			continue
		}
		info, content := rootfstest.Parse(text)
		switch {
		case info.Path == "/etc", info.Path == "/home", strings.HasSuffix(info.Path, "-"):
		case strings.HasPrefix(info.Path, "/etc/"):
			for line := range strings.SplitSeq(strings.TrimSpace(content), "\n") {
				if !strings.Contains(before[info.Path], line+"\n") {
					lines = append(lines, strings.TrimPrefix(info.Path, "/etc/")+" "+line)
				}
			}
		default:
			lines = append(lines, text)
		}
	}
	return lines
}

const today = "20516" // 2026-03-04

func TestUsers(t *testing.T) {
	tests := []struct {
		name, script string
		below        []string
		want         []string
	}{
		{"busybox user", "adduser -D app", alpine, []string{"group app:x:1000:", "passwd app:x:1000:1000:Linux User,,,:/home/app:/bin/sh", "shadow app:!:" + today + ":0:99999:7:::", "drwxr-sr-x 1000:1000 /home/app"}},
		{"busybox system user", "adduser -S -H app", alpine, []string{"group nogroup:x:65533:app", "passwd app:x:100:65533:Linux User,,,:/home/app:/sbin/nologin", "shadow app:!:" + today + ":0:99999:7:::"}},
		{"busybox system user in a group", "addgroup -S app && adduser -S -G app -h /app -s /bin/ash -g App app", alpine, []string{
			"drwxr-sr-x 100:100 /app", "group app:x:100:app", "passwd app:x:100:100:App:/app:/bin/ash", "shadow app:!:" + today + ":0:99999:7:::",
		}},
		{"busybox IDs", "addgroup -g 1234 -S a; adduser -u 4321 -D -G a b; adduser -D c; adduser -D -H d", alpine, []string{
			"group a:x:1234:b", "group c:x:1000:", "group d:x:1001:", "passwd b:x:4321:1234:Linux User,,,:/home/b:/bin/sh", "passwd c:x:1000:1000:Linux User,,,:/home/c:/bin/sh",
			"passwd d:x:1001:1001:Linux User,,,:/home/d:/bin/sh", "shadow b:!:" + today + ":0:99999:7:::", "shadow c:!:" + today + ":0:99999:7:::", "shadow d:!:" + today + ":0:99999:7:::",
			"drwxr-sr-x 4321:1234 /home/b", "drwxr-sr-x 1000:1000 /home/c",
		}},
		{"busybox long flags", `adduser --disabled-password --gecos "" --home "/nonexistent" --shell "/sbin/nologin" --no-create-home --uid "10001" appuser`, alpine, []string{
			"group appuser:x:10001:", "passwd appuser:x:10001:10001::/nonexistent:/sbin/nologin", "shadow appuser:!:" + today + ":0:99999:7:::",
		}},
		{"membership", "adduser -D -H a; addgroup a bin; adduser a nogroup; addgroup a bin", alpine, []string{
			"group bin:x:1:root,a", "group nogroup:x:65533:a", "group a:x:1000:", "passwd a:x:1000:1000:Linux User,,,:/home/a:/bin/sh", "shadow a:!:" + today + ":0:99999:7:::",
		}},
		{"debian user", `adduser --disabled-password --gecos "" app`, debian, []string{
			"group users:x:100:app", "group app:x:1000:", "gshadow app:!::", "passwd app:x:1000:1000::/home/app:/bin/bash", "shadow app:!:" + today + ":0:99999:7:::",
			"drwx------ 1000:1000 /home/app", "-rw-r--r-- 1000:1000 /home/app/.profile p",
		}},
		{"debian system user", "adduser --system --group --no-create-home app", debian, []string{"group app:x:101:", "gshadow app:!::", "passwd app:x:101:101::/nonexistent:/usr/sbin/nologin", "shadow app:!:" + today + "::::::"}},
		{"useradd", "useradd -m -s /bin/bash -c 'An App' app", debian, []string{
			"group app:x:1000:", "gshadow app:!::", "passwd app:x:1000:1000:An App:/home/app:/bin/bash", "shadow app:!:" + today + ":0:99999:7:::",
			"subgid app:100000:65536", "subuid app:100000:65536", "drwx------ 1000:1000 /home/app", "-rw-r--r-- 1000:1000 /home/app/.profile p",
		}},
		{"useradd and groupadd of the system", "groupadd -r app && useradd --no-log-init -r -g app -G users -d /app -s /sbin/nologin app; groupadd x; useradd -N -u 5 y", debian, []string{
			"group users:x:100:app", "group app:x:999:", "group x:x:1000:", "gshadow app:!::", "gshadow x:!::", "passwd app:x:999:999::/app:/sbin/nologin", "passwd y:x:5:100::/home/y:/bin/sh",
			"shadow app:!:" + today + "::::::", "shadow y:!:" + today + ":0:99999:7:::", "subgid y:100000:65536", "subuid y:100000:65536",
		}},
		{"usermod", "useradd a; usermod -aG users -s /bin/zsh -d /a -g 100 a; groupadd -f users", debian, []string{
			"group users:x:100:a", "group a:x:1000:", "gshadow a:!::", "passwd a:x:1000:100::/a:/bin/zsh", "shadow a:!:" + today + ":0:99999:7:::", "subgid a:100000:65536", "subuid a:100000:65536",
		}},
		{"no databases", "adduser -D -H app", []string{"-rwxr-xr-x 0:0 /bin/busybox x"}, []string{"group app:x:1000:", "passwd app:x:1000:1000:Linux User,,,:/home/app:/bin/sh"}},
		{"home that is there", "mkdir -p /home/app; adduser -D app", alpine, []string{
			"group app:x:1000:", "passwd app:x:1000:1000:Linux User,,,:/home/app:/bin/sh", "shadow app:!:" + today + ":0:99999:7:::", "drwxr-sr-x 1000:1000 /home/app",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newStage(t, tt.below...)
			r := (&world{}).run(t, f, sh(tt.script))
			if r.err != nil {
				t.Errorf("%v\n%s", r.err, r.stderr)
			}
			if diff := cmp.Diff(tt.want, added(t, f, tt.below)); diff != "" {
				t.Errorf("added (-want +got):\n%s", diff)
			}
		})
	}
}

// What was there before is kept beside, and owner and mode stay.
func TestUserBackups(t *testing.T) {
	f := newStage(t, alpine...)
	must(t, (&world{}).run(t, f, sh("adduser -D -H app")).err)
	for file, mode := range map[string]string{"/etc/passwd-": "-rw-r--r-- 0:0", "/etc/shadow-": "-rw-r----- 0:42", "/etc/shadow": "-rw-r----- 0:42", "/etc/group-": "-rw-r--r-- 0:0"} {
		info, err := f.Stat(file)
		must(t, err)
		if got := rootfstest.Line(info, ""); got != mode+" "+file {
			t.Errorf("got %s, want %s", got, mode)
		}
	}
	if content, err := f.ReadFile("/etc/passwd-"); err != nil || strings.Contains(string(content), "app") {
		t.Errorf("got %q, %v", content, err)
	}
}

func TestUserErrors(t *testing.T) {
	tests := []struct {
		script string
		below  []string
		want   string
	}{
		{"adduser -D root", alpine, "adduser: user 'root' in use"},
		{"adduser -D -u 1 x", alpine, "adduser: uid '1' in use"},
		{"adduser -D -G nope x", alpine, "adduser: unknown group nope"},
		{"adduser x", alpine, "adduser: it asks for a password, and there is no one to answer: use -D"},
		{"adduser -D 'a:b'", alpine, `adduser: invalid name "a:b"`},
		{"adduser -D -g 'a\nb' x", alpine, `adduser: invalid field "a\nb"`},
		{"adduser -D -h 'a:b' x", alpine, `adduser: invalid field "a:b"`},
		{"adduser -D -u -5 x", alpine, `adduser: invalid ID "-5"`},
		{"adduser", alpine, "adduser: it takes the name of one user"},
		{"addgroup root", alpine, "addgroup: group 'root' in use"},
		{"addgroup -g 1 x", alpine, "addgroup: gid '1' in use"},
		{"addgroup nope bin", alpine, "addgroup: unknown user nope"},
		{"addgroup bin nope", alpine, "addgroup: unknown group nope"},
		{"useradd root", debian, "useradd: user 'root' already exists"},
		{"useradd -u 0 x", debian, "useradd: UID 0 is not unique"},
		{"useradd -g nope x", debian, "useradd: group 'nope' does not exist"},
		{"useradd users", debian, "useradd: group users exists - if you want to add this user to that group, use -g"},
		{"useradd -G nope x", debian, "useradd: group 'nope' does not exist"},
		{"groupadd users", debian, "groupadd: group 'users' already exists"},
		{"usermod -aG users x", debian, "usermod: user 'x' does not exist"},
		{"usermod -aG nope root", debian, "usermod: unknown group nope"},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			r := (&world{}).run(t, newStage(t, tt.below...), sh(tt.script))
			if r.err == nil || r.stderr != tt.want+"\n" {
				t.Errorf("got error %v, %q, want %q", r.err, r.stderr, tt.want)
			}
		})
	}
}

const cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

func TestPackages(t *testing.T) {
	etc, ssl, certs := "drwxr-xr-x 0:0 /etc", "drwxr-xr-x 0:0 /etc/ssl", "drwxr-xr-x 0:0 /etc/ssl/certs"
	bundle := "-rw-r--r-- 0:0 /etc/ssl/certs/ca-certificates.crt ROOTS\n"
	pem := "lrwxrwxrwx 0:0 /etc/ssl/cert.pem -> certs/ca-certificates.crt"
	local := []string{"drwxr-xr-x 0:0 /usr", "drwxr-xr-x 0:0 /usr/local", "drwxr-xr-x 0:0 /usr/local/share", "drwxr-xr-x 0:0 /usr/local/share/ca-certificates"}
	tests := []struct {
		name, script string
		below        []string
		want         []string
	}{
		{"certificates of Alpine", "apk add --no-cache ca-certificates && rm -rf /var/cache/apk/*", alpine, []string{etc, ssl, pem, certs, bundle}},
		{"certificates of Debian", "apt-get update && apt-get install -y --no-install-recommends ca-certificates", debian, []string{etc, ssl, certs, bundle}},
		{"certificates that are there", "apk add ca-certificates && update-ca-certificates", append([]string{"-rw-r--r-- 0:0 /etc/ssl/certs/ca-certificates.crt mine"}, alpine...), nil},
		{"zones", "apk --no-cache add tzdata=2024a-r0 && cp /usr/share/zoneinfo/Europe/Rome /etc/localtime", alpine, []string{
			etc, "-rw-r--r-- 0:0 /etc/localtime rome", "drwxr-xr-x 0:0 /usr", "drwxr-xr-x 0:0 /usr/share", "drwxr-xr-x 0:0 /usr/share/zoneinfo",
			"drwxr-xr-x 0:0 /usr/share/zoneinfo/Europe", "-rw-r--r-- 0:0 /usr/share/zoneinfo/Europe/Rome rome", "-rw-r--r-- 0:0 /usr/share/zoneinfo/UTC utc",
		}},
		{"tools leave nothing", "apk add --virtual .build git make && apk del .build && apk info", alpine, nil},
		{"own certificates", "mkdir -p /usr/local/share/ca-certificates && printf '" + strings.ReplaceAll(cert, "\n", `\n`) + "' > /usr/local/share/ca-certificates/my.crt && echo no > /usr/local/share/ca-certificates/x.crt && update-ca-certificates && update-ca-certificates", alpine,
			append(append([]string{etc, ssl, pem, certs, "lrwxrwxrwx 0:0 /etc/ssl/certs/ca-cert-my.pem -> /usr/local/share/ca-certificates/my.crt", bundle + cert}, local...),
				"-rw-r--r-- 0:0 /usr/local/share/ca-certificates/my.crt "+cert, "-rw-r--r-- 0:0 /usr/local/share/ca-certificates/x.crt no\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newStage(t, tt.below...)
			r := (&world{}).run(t, f, sh(tt.script))
			if r.err != nil {
				t.Errorf("%v\n%s", r.err, r.stderr)
			}
			wantChanges(t, f, tt.want...)
		})
	}
}
