package script_test

import (
	"errors"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/script"
)

// What commands change of a stage.
func TestFiles(t *testing.T) {
	below := append([]string{
		"-rw-r--r-- 5:6 /f F", "-rwsr-x--- 7:8 /su S", "lrwxrwxrwx 0:0 /ln -> f", "drwxr-x--- 3:4 /d", "-rw-r--r-- 3:4 /d/a A", "lrwxrwxrwx 3:4 /d/l -> a",
		"drwxr-xr-x 3:4 /d/e", "-rw-r--r-- 0:0 /d/e/b B", "drwxr-xr-x 0:0 /opt",
	}, alpine...)
	tests := []struct {
		script string
		want   []string
	}{
		{"mkdir /x && mkdir -p /y/z /opt && mkdir -m 1777 /t", []string{"drwxrwxrwt 0:0 /t", "drwxr-xr-x 0:0 /x", "drwxr-xr-x 0:0 /y", "drwxr-xr-x 0:0 /y/z"}},
		{"umask 077; mkdir -p -m 755 /x/y; echo > /x/f; touch /x/g", []string{"drwx------ 0:0 /x", "-rw------- 0:0 /x/f \n", "-rw------- 0:0 /x/g", "drwxr-xr-x 0:0 /x/y"}},
		{"touch /new /f; touch -c /none", []string{"-rw-r--r-- 0:0 /new"}},
		{"echo a > /x; echo b >> /x; echo c >> /f; : > /su", []string{"-rw-r--r-- 5:6 /f Fc\n", "-rwsr-x--- 7:8 /su", "-rw-r--r-- 0:0 /x a\nb\n"}},
		{"rm /f; rm -f /none; rm -rf /d", []string{"deleted /d", "deleted /f"}},
		{"rm -rf /d/* /opt/*", []string{"drwxr-x--- 3:4 /d", "deleted /d/a", "deleted /d/e", "deleted /d/l"}},
		{"rmdir /opt; mkdir -p /p/q/r; rmdir -p /p/q/r", []string{"deleted /opt"}},
		{"ln -s /f /s; ln -s a b /opt; ln -sf /x /ln; ln /f /hard; ln -sfn /y /s; cd /opt; ln -s ../f", []string{
			"-rw-r--r-- 5:6 /f F", "-rw-r--r-- 5:6 /hard F", "lrwxrwxrwx 0:0 /ln -> /x", "drwxr-xr-x 0:0 /opt",
			"lrwxrwxrwx 0:0 /opt/a -> a", "lrwxrwxrwx 0:0 /opt/b -> b", "lrwxrwxrwx 0:0 /opt/f -> ../f", "lrwxrwxrwx 0:0 /s -> /y",
		}},
		{"ln -sr /d/a /opt/r; ln -s /d /dl; ln -sT x /opt/t", []string{"lrwxrwxrwx 0:0 /dl -> /d", "drwxr-xr-x 0:0 /opt", "lrwxrwxrwx 0:0 /opt/r -> ../d/a", "lrwxrwxrwx 0:0 /opt/t -> x"}},
		{"cp /f /x; cp /su /opt; cp -p /su /y; cp /ln /z; cp -P /ln /p", []string{
			"drwxr-xr-x 0:0 /opt", "-rwxr-x--- 0:0 /opt/su S", "lrwxrwxrwx 0:0 /p -> f", "-rw-r--r-- 0:0 /x F", "-rwsr-x--- 7:8 /y S", "-rw-r--r-- 0:0 /z F",
		}},
		{"cp -r /d /x", []string{"drwxr-x--- 0:0 /x", "-rw-r--r-- 0:0 /x/a A", "drwxr-xr-x 0:0 /x/e", "-rw-r--r-- 0:0 /x/e/b B", "lrwxrwxrwx 0:0 /x/l -> a"}},
		{"cp -a /d /opt/", []string{
			"drwxr-xr-x 0:0 /opt", "drwxr-x--- 3:4 /opt/d", "-rw-r--r-- 3:4 /opt/d/a A", "drwxr-xr-x 3:4 /opt/d/e", "-rw-r--r-- 0:0 /opt/d/e/b B", "lrwxrwxrwx 3:4 /opt/d/l -> a",
		}},
		{"cp -rL /d/. /opt", []string{"drwxr-xr-x 0:0 /opt", "-rw-r--r-- 0:0 /opt/a A", "drwxr-xr-x 0:0 /opt/e", "-rw-r--r-- 0:0 /opt/e/b B", "-rw-r--r-- 0:0 /opt/l A"}},
		{"cp /f /d/a; cp -n /su /f; cp -t /opt /f /d/a; cp -T /f /t", []string{
			"drwxr-x--- 3:4 /d", "-rw-r--r-- 3:4 /d/a F", "drwxr-xr-x 0:0 /opt", "-rw-r--r-- 0:0 /opt/a F", "-rw-r--r-- 0:0 /opt/f F", "-rw-r--r-- 0:0 /t F",
		}},
		{"mv /f /opt; mv /d /moved; mv /ln /su2; mv -n /su /moved/a", []string{
			"deleted /d", "deleted /f", "deleted /ln", "drwxr-x--- 3:4 /moved", "-rw-r--r-- 3:4 /moved/a A", "drwxr-xr-x 3:4 /moved/e", "-rw-r--r-- 0:0 /moved/e/b B",
			"lrwxrwxrwx 3:4 /moved/l -> a", "drwxr-xr-x 0:0 /opt", "-rw-r--r-- 5:6 /opt/f F", "lrwxrwxrwx 0:0 /su2 -> f",
		}},
		{"install -d -m 700 -o 5 -g 6 /x/y; install -m 755 /f /x/bin; install -D /f /n/m/f; install /f /su /opt", []string{
			"drwxr-xr-x 0:0 /n", "drwxr-xr-x 0:0 /n/m", "-rwxr-xr-x 0:0 /n/m/f F", "drwxr-xr-x 0:0 /opt", "-rwxr-xr-x 0:0 /opt/f F", "-rwxr-xr-x 0:0 /opt/su S",
			"drwxr-xr-x 0:0 /x", "-rwxr-xr-x 0:0 /x/bin F", "drwx------ 5:6 /x/y",
		}},
		{"chmod 600 /f; chmod +x /d/a; chmod -R go-rwx /d/e; chmod u+s,g=rx,o= /ln; chmod -w /su", []string{
			"drwxr-x--- 3:4 /d", "-rwxr-xr-x 3:4 /d/a A", "drwx------ 3:4 /d/e", "-rw------- 0:0 /d/e/b B", "-rwSr-x--- 5:6 /f F", "-r-sr-x--- 7:8 /su S",
		}},
		{"chown 1:2 /f; chown -R bin:bin /d; chown :9 /su; chgrp root /opt; chown -h 3 /ln", []string{
			"drwxr-x--- 1:1 /d", "-rw-r--r-- 1:1 /d/a A", "drwxr-xr-x 1:1 /d/e", "-rw-r--r-- 1:1 /d/e/b B", "lrwxrwxrwx 1:1 /d/l -> a", "-rw-r--r-- 1:2 /f F",
			"lrwxrwxrwx 3:0 /ln -> f", "-rwxr-x--- 7:9 /su S",
		}},
		{"chown bin /ln; chown bin: /d/a; chown root.root /d/e/b; chown 0 /d/e", []string{
			"drwxr-x--- 3:4 /d", "-rw-r--r-- 1:1 /d/a A", "drwxr-xr-x 0:4 /d/e", "-rw-r--r-- 1:6 /f F",
		}},
		{"echo x | tee /a /b > /dev/null; echo y | tee -a /a; sed -i 's/F/G/' /f; truncate -s 0 /su", []string{"-rw-r--r-- 0:0 /a x\ny\n", "-rw-r--r-- 0:0 /b x\n", "-rw-r--r-- 5:6 /f G", "-rwsr-x--- 7:8 /su"}},
		{"echo abc > /a; truncate -s 2 /a; echo abc > /b; truncate -s 6 /b; truncate -c -s 1 /none; truncate -s 1 /c", []string{"-rw-r--r-- 0:0 /a ab", "-rw-r--r-- 0:0 /b abc\n\x00\x00", "-rw-r--r-- 0:0 /c \x00"}},
		{"ln -s /none /d/b; cp -rL /d /x || true", []string{"drwxr-x--- 3:4 /d", "lrwxrwxrwx 0:0 /d/b -> /none", "drwxr-x--- 0:0 /x", "-rw-r--r-- 0:0 /x/a A", "drwxr-xr-x 0:0 /x/e", "-rw-r--r-- 0:0 /x/e/b B", "-rw-r--r-- 0:0 /x/l A"}},
		{"find /d -type f -delete; find /d -name e -exec rm -r {} +", []string{"drwxr-x--- 3:4 /d", "deleted /d/a", "deleted /d/e"}},
		{"ls /d | xargs -I{} touch /opt/{}; cd /d && rm -- -x 2>/dev/null || touch ./-x && rm -- -x", []string{"drwxr-x--- 3:4 /d", "drwxr-xr-x 0:0 /opt", "-rw-r--r-- 0:0 /opt/a", "-rw-r--r-- 0:0 /opt/e", "-rw-r--r-- 0:0 /opt/l"}},
		{"mkdir /var && ln -s /run /var/run && mkdir /run && echo 1 > /var/run/pid", []string{"drwxr-xr-x 0:0 /run", "-rw-r--r-- 0:0 /run/pid 1\n", "drwxr-xr-x 0:0 /var", "lrwxrwxrwx 0:0 /var/run -> /run"}},
		{"echo hosts: files dns > /etc/nsswitch.conf", []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 /etc/nsswitch.conf hosts: files dns\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			f := newStage(t, below...)
			r := (&world{}).run(t, f, sh(tt.script))
			if r.err != nil {
				t.Errorf("%v\n%s", r.err, r.stderr)
			}
			wantChanges(t, f, tt.want...)
		})
	}
}

// What a user makes belongs to it.
func TestUserOfFiles(t *testing.T) {
	f := newStage(t, alpine...)
	run := sh("mkdir -p x/y && echo a > x/f && ln -s f x/l && cp x/f x/g && id -u && echo $HOME ~ $UID")
	run.User, run.Dir = "bin", "/tmp"
	r := (&world{}).run(t, f, run)
	must(t, r.err)
	if want := "1\n/bin /bin 1\n"; r.stdout != want {
		t.Errorf("got %q, want %q", r.stdout, want)
	}
	wantChanges(t, f, "drwxrwxrwt 0:0 /tmp", "drwxr-xr-x 1:1 /tmp/x", "-rw-r--r-- 1:1 /tmp/x/f a\n", "-rw-r--r-- 1:1 /tmp/x/g a\n", "lrwxrwxrwx 1:1 /tmp/x/l -> f", "drwxr-xr-x 1:1 /tmp/x/y")
	run.User = "nobody"
	wantError(t, (&world{}).run(t, f, run).err, `finding user "nobody": unknown user nobody`)
}

// Where a script fails, the error names the line and the command.
func TestErrors(t *testing.T) {
	below := append([]string{"-rw-r--r-- 0:0 /f F", "drwxr-xr-x 0:0 /d", "-rw-r--r-- 0:0 /d/x x"}, alpine...)
	tests := []struct {
		name, script string
		line, status int
		want         string
		stderr       string
	}{
		{"first", "cat /nope", 10, 1, "RUN cat /nope: exit status 1", "cat: /nope: no such file or directory\n"},
		{"in a list", "true &&\n  mkdir /x &&\n  rmdir /d &&\n  echo no", 12, 1, "RUN rmdir /d: exit status 1", "rmdir: /d: directory not empty\n"},
		{"last line counts", "false\ntrue\ncp /f", 12, 1, "RUN cp /f: exit status 1", "cp: missing operand\n"},
		{"set -e", "set -e\ntrue\nfalse\ntrue", 12, 1, "RUN false: exit status 1", ""},
		{"status", "true\nexit 7", 11, 7, "RUN exit 7: exit status 7", ""},
		{"in a function", "f() {\n  grep x /f\n}\nset -e\nf", 11, 1, "RUN grep x /f: exit status 1", ""},
		{"pipe", "set -o pipefail\nset -e\ncat /nope |\n  wc -l", 12, 1, "RUN cat /nope: exit status 1", "cat: /nope: no such file or directory\n"},
		{"pipe whose end goes on", "set -eo pipefail\ncat /nope | {\n  cat\n  true\n}", 11, 1, "RUN cat /nope: exit status 1", "cat: /nope: no such file or directory\n"},
		{"redirection", "true\necho x > /no/such/file", 11, 1, "RUN echo x >/no/such/file: exit status 1", "open /no/such/file: no such file or directory\n"},
		{"cd", "true;\ncd /nope && true", 11, 1, "RUN cd /nope: exit status 1", "cd: no such file or directory: \"/nope\"\n"},
		{"unset variable", "set -u\necho $nope", 11, 1, "RUN echo $nope: exit status 1", "nope: unbound variable\n"},
		{"in another shell", "true\nsh -c 'cat /nope'", 11, 1, "RUN sh -c 'cat /nope': exit status 1", "cat: /nope: no such file or directory\n"},
		{"rm of a directory", "rm /d", 10, 1, "RUN rm /d: exit status 1", "rm: /d: is a directory\n"},
		{"rm of all", "rm -rf /", 10, 1, "RUN rm -rf /: exit status 1", "rm: it is dangerous to remove /\n"},
		{"mkdir twice", "mkdir /d", 10, 1, "RUN mkdir /d: exit status 1", "mkdir: /d: file exists\n"},
		{"chown of nobody", "chown nobody /f", 10, 1, "RUN chown nobody /f: exit status 1", "chown: finding owner \"nobody\": unknown user nobody: /etc/passwd does not have it\n"},
		{"cp of a directory", "cp /d /e", 10, 1, "RUN cp /d /e: exit status 1", "cp: omitting directory /d\n"},
		{"cp into itself", "cp -r /d /d/e", 10, 1, "RUN cp -r /d /d/e: exit status 1", "cp: cannot copy directory /d into itself, /d/e\n"},
		{"find", "find /nope", 10, 1, "RUN find /nope: exit status 1", "find: /nope: no such file or directory\n"},
		{"xargs", "echo x | xargs cat", 10, 123, "RUN xargs cat: exit status 123", "cat: /x: no such file or directory\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := (&world{}).run(t, newStage(t, below...), sh(tt.script))
			var e *script.Error
			if !errors.As(r.err, &e) {
				t.Fatalf("got error %v\n%s", r.err, r.stderr)
			}
			if e.Line != tt.line || e.Status != tt.status || e.Error() != tt.want {
				t.Errorf("got line %d, status %d, %q; want %d, %d, %q", e.Line, e.Status, e, tt.line, tt.status, tt.want)
			}
			if r.stderr != tt.stderr {
				t.Errorf("stderr %q, want %q", r.stderr, tt.stderr)
			}
		})
	}
}

func TestForms(t *testing.T) {
	tests := []struct {
		name string
		run  plan.Run
		want string
	}{
		{"exec form", plan.Run{Exec: []string{"echo", "$HOME a  b", "*"}}, "$HOME a  b *\n"},
		{"exec form of a shell", plan.Run{Exec: []string{"/bin/sh", "-c", "echo $HOME $1", "sh", "x"}}, "/root x\n"},
		{"shell with options", plan.Run{Script: "false | true || echo failed", Shell: []string{"/bin/bash", "-euo", "pipefail", "-c"}}, "failed\n"},
		{"variables", plan.Run{Script: "echo $A $HOME $PATH", Env: []string{"A=b c", "HOME=/h", "PATH=/bin"}}, "b c /h /bin\n"},
		{"here-document with an interpreter", plan.Run{Script: "/dev/pipes/EOF", Files: []plan.Inline{{Name: "EOF", Data: "#!/usr/bin/env bash\nset -e\necho $0\n"}}}, "/dev/pipes/EOF\n"},
		{"here-documents as files", plan.Run{Script: "cat /dev/pipes/A /dev/pipes/B", Files: []plan.Inline{{Name: "A", Data: "a"}, {Name: "B", Data: "b"}}}, "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newStage(t, alpine...)
			r := (&world{}).run(t, f, &tt.run)
			if r.err != nil || r.stdout != tt.want {
				t.Errorf("got %q, %v, want %q", r.stdout, r.err, tt.want)
			}
			wantChanges(t, f)
		})
	}
}
