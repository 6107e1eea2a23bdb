package script_test

import (
	"testing"

	"github.com/stagectl/stagectl/builder/script"
)

// What commands print, from what files of the stage have.
func TestOutput(t *testing.T) {
	files := append([]string{
		"-rw-r--r-- 0:0 /f one\ntwo\nthree\nfour\n", "-rw-r--r-- 0:0 /csv a,b,c\nd,e,f\nplain\n", "-rw-r--r-- 0:0 /n 10\n9\n2\n9\n", "-rw-r--r-- 0:0 /bare x",
		"-rw-r--r-- 0:0 /conf # c\nkey = value\nother=1\n[s]\nkey = x\n", "-rwxr-xr-x 0:0 /usr/local/go/bin/go x",
		"lrwxrwxrwx 0:0 /ln -> d/a.go", "-rw-r--r-- 5:6 /d/a.go package a", "-rw-r--r-- 0:0 /d/e/b.go package b", "-rw-r--r-- 0:0 /d/e/c.txt", "drwxr-xr-x 0:0 /d/empty",
	}, alpine...)
	tests := []struct{ script, want string }{
		{"echo a  b", "a b\n"},
		{`echo -n 'a\tb'; echo -e 'a\tb\c' x; echo -ne '\n'`, "a\\tba\tb\n"},
		{`printf '%s-%d\n' a 1 b 2`, "a-1\nb-2\n"},
		{"cat /f | head -n 2", "one\ntwo\n"},
		{"head -1 /f /bare", "one\nx"},
		{"head -n -3 /f; head -c 3 /f", "one\none"},
		{"tail -n 1 /f; tail -n +3 /f; tail -1 /f; tail -c 3 /f", "four\nthree\nfour\nfour\nur\n"},
		{"cat -n /bare", "     1\tx\n"},
		{"cat < /f - /bare", "one\ntwo\nthree\nfour\nx"},
		{"wc -l < /f; wc /f /bare", "4\n4 4 19 /f\n0 1 1 /bare\n4 5 20 total\n"},
		{"sort /n; sort -n /n; sort -rnu /n", "10\n2\n9\n9\n2\n9\n9\n10\n10\n9\n2\n"},
		{"printf 'v1.10\\nv1.9\\n' | sort -V", "v1.9\nv1.10\n"},
		{"sort /n | uniq -c; sort /n | uniq -d; sort /n | uniq -u", "      1 10\n      1 2\n      2 9\n9\n10\n2\n"},
		{"cut -d, -f2 /csv; cut -d , -f 1,3- -s /csv; cut -c1-2 /f", "b\ne\nplain\na,c\nd,f\non\ntw\nth\nfo\n"},
		{"echo aBc1 | tr 'a-z' 'A-Z'; echo aBc1 | tr -d '[:digit:]'; echo 'a  b' | tr -s ' '; echo a:b | tr ':' '\\n'; echo ab | tr -cd a", "ABC1\naBc\na b\na\nb\na"},
		{"echo abc | rev", "cba\n"},
		{"grep -n o /f; grep -c o /f; grep -v o /f; grep -qx two /f && echo yes; grep nope /f || echo $?", "1:one\n2:two\n4:four\n3\nthree\nyes\n1\n"},
		{"grep -E '^(t|f)' /f; grep -o 'o[a-z]*' /f; grep -F . /f; grep -i ONE /f; grep -e one -e two /f", "two\nthree\nfour\none\no\nour\none\none\ntwo\n"},
		{`grep 'o\+$' /f; grep 'a\|w' /f; grep -w on /f; grep -l one /f /n; grep -r package /d; grep -h package /d/a.go /d/e/b.go; grep -m1 o /f`, "two\ntwo\n/f\n/d/a.go:package a\n/d/e/b.go:package b\npackage a\npackage b\none\n"},
		{"grep -s x /missing; echo $?", "2\n"},
		{"sed 's/o/0/' /f | head -n 2; sed -n '2p' /f; sed -n '/two/,/four/p' /f; sed '1d;$d' /f; sed -e 2q /f", "0ne\ntw0\ntwo\ntwo\nthree\nfour\ntwo\nthree\none\ntwo\n"},
		{`sed -E 's/(t)(w)/\2\1/;s|e$|E|' /f; echo a/b | sed 's#/#\n#'; echo aaa | sed 's/a/b/2;s/a/c/g'`, "onE\nwto\nthreE\nfour\na\nb\ncbc\n"},
		{`sed -n 's/^key *= *\(.*\)$/\1/p' /conf; sed '/^#/d;/^$/!s/ //g' /conf; sed -n '$=;$p' /conf | tail -1`, "value\nx\nkey=value\nother=1\n[s]\nkey=x\nkey = x\n"},
		{`echo hello | sed 'y/el/ip/'; echo x | sed 's/x/[&]/'; echo a | sed 'a b'; echo a | sed '1i\
b'; echo a.b | sed 's/\./-/'; echo a | sed 's/b*/x/'`, "hippo\n[x]\na\nb\nb\na\na-b\nxa\n"},
		{"basename /a/b.go .go; basename -s .go /a/x.go; dirname /a/b; dirname a; dirname /", "b\nx\n/a\n.\n/\n"},
		{"seq 3; seq -s ' ' 2 4; seq 5 -2 1", "1\n2\n3\n2 3 4\n5\n3\n1\n"},
		{"echo hi | base64; echo aGkK | base64 -d", "aGkK\nhi\n"},
		{"echo -n x | sha256sum; echo '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  /bare' | sha256sum -c -", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  -\n/bare: OK\n"},
		{"find /d -name '*.go'; find /d -type d; find /d -type f -not -name '*.go'; find /d -maxdepth 1 -mindepth 1 -type f -o -empty -type d", "/d/a.go\n/d/e/b.go\n/d\n/d/e\n/d/empty\n/d/e/c.txt\n/d/a.go\n/d/empty\n"},
		{"cd /d; find . -path './e/*' -exec echo got {} \\; ; find . \\( -name a.go -o -name c.txt \\) -print0 | xargs -0 -n1 echo; find e -prune", "got ./e/b.go\ngot ./e/c.txt\n./a.go\n./e/c.txt\ne\n"},
		{"printf 'a b\\nc' | xargs echo; printf 'a\\nb' | xargs -I{} echo '<{}>'; echo | xargs -r echo no; printf '\"a b\" c' | xargs -n1", "a b c\n<a>\n<b>\na b\nc\n"},
		{"ls /d; ls -A /d/e; ls -d /d; ls -l /d/a.go", "a.go\ne\nempty\nb.go\nc.txt\n/d\n-rw-r--r-- 1 5 6 9 Jan  1  1970 /d/a.go\n"},
		{"cd /d; ls -a e; ls e/ a.go; ls empty e; ls -R; ls -r /d; ls -F . | head -n2; ls -d e a.go",
			".\n..\nb.go\nc.txt\n" + "a.go\n\ne/:\nb.go\nc.txt\n" + "e:\nb.go\nc.txt\n\nempty:\n" +
				".:\na.go\ne\nempty\n\n./e:\nb.go\nc.txt\n\n./empty:\n" + "empty\ne\na.go\n" + "a.go\ne/\n" + "a.go\ne\n"},
		{"cd /tmp; head -c 1500 /dev/zero > big; echo x > small; chmod 4711 small; ls -lhS; ls -ld /tmp; ls none 2> /dev/null || echo $?",
			"-rw-r--r-- 1 0 0 1.5K Jan  1  1970 big\n-rws--x--x 1 0 0 2 Jan  1  1970 small\ndrwxrwxrwt 1 0 0 0 Jan  1  1970 /tmp\n1\n"},
		{"readlink /ln; readlink -f /ln; realpath /d/../ln; readlink /d || echo $?; readlink -f /no/such || echo no", "d/a.go\n/d/a.go\n/d/a.go\n1\nno\n"},
		{"date +%Y-%m-%dT%H:%M:%SZ; date -u; date +%s; date -u -d @0 +%F; date -Iseconds; date -I; date '+%-d %e %j %u %%'", "2026-03-04T05:06:07Z\nWed Mar  4 05:06:07 UTC 2026\n1772600767\n1970-01-01\n2026-03-04T05:06:07+00:00\n2026-03-04\n4  4 063 3 %\n"},
		{"uname -m; uname; arch; dpkg --print-architecture; apk --print-arch; hostname; nproc", "aarch64\nLinux\naarch64\narm64\naarch64\nbuildkitsandbox\n1\n"},
		{"id; id -u; id -un; id -g; id -Gn; whoami; id -u bin", "uid=0(root) gid=0(root) groups=0(root),1(bin)\n0\nroot\n0\nroot bin\nroot\n1\n"},
		{"getent passwd bin; getent group 1; getent passwd nobody || echo $?", "bin:x:1:1:bin:/bin:/sbin/nologin\nbin:x:1:root\n2\n"},
		{"command -v cp; command -v go; command -v cd; command -v gcc || echo none; which go; type cp; command -V sed", "/bin/cp\n/usr/local/go/bin/go\ncd\nnone\n/usr/local/go/bin/go\ncp is /bin/cp\nsed is /usr/bin/sed\n"},
		{"env A=1 printenv A; env -i B=2 env; A=3 env -u A printenv A || echo unset; export X=y; printenv X; env | grep ^X", "1\nB=2\nunset\ny\nX=y\n"},
		{"umask; umask 077; umask; umask -S; umask u=rwx,g=rx,o=; umask", "0022\n0077\nu=rwx,g=,o=\n0027\n"},
		{"echo {a,b} x{1..3} \\{c,d} '{e,f}'{g,h}; for i in {1,2}; do echo $i; done; echo > /{x,y}; ls /{x,y}; bash -c 'echo {a,b}'",
			"{a,b} x{1..3} {c,d} {e,f}{g,h}\n{1,2}\n/{x,y}\na b\n"},
		{"env | grep PWD; cd /d; env | grep ^PWD; (cd e && printenv PWD); echo [$HOSTNAME]; printenv HOSTNAME || echo none", "PWD=/\nPWD=/d\n/d/e\n[buildkitsandbox]\nnone\n"},
		{"cd /nope 2>/dev/null || cd /d/e; pwd; pwd -P; cd -; echo $PWD", "/d/e\n/d/e\n/\n/\n"},
		{"sh -c 'echo $0 $1' a b; bash -c 'echo $((1+2))'; sh -ec 'false; echo no' || echo $?; busybox echo hi; time echo t; timeout 5 echo x; nice -n 5 echo y", "a b\n3\n1\nhi\nt\nx\ny\n"},
		{"f() { echo f $1; }; f a; for i in 1 2; do [ $i = 2 ] && continue; echo $i; done; case abc in a*) echo m;; esac; (cd /d; pwd); pwd", "f a\n1\nm\n/d\n/\n"},
		{"x=$(cat /bare); echo ${x:-d} ${y:-d} ${x%x}.; set -- a b; echo $# $2; test -f /f && echo file; [ -x /bin/busybox ] && echo exec; [[ abc == a* ]] && echo match", "x d .\n2 b\nfile\nexec\nmatch\n"},
		{"test -w /f && test -r /f && echo rw; test -x /f || echo not; test -e /nope || echo gone; test -h /ln && echo link; test -d /d -a -s /f && echo both", "rw\nnot\ngone\nlink\nboth\n"},
		{"echo /d/*.go /d/*/ *.nope", "/d/a.go /d/e/ /d/empty/ *.nope\n"},
		{"cat <<EOF\na $((2*3))\nEOF\ncat <<'EOF'\n$x\nEOF\ncat <<<here", "a 6\n$x\nhere\n"},
		{"echo err >&2; echo out; echo both > /dev/stderr; echo null > /dev/null; head -c 2 /dev/zero | wc -c; head -c 8 /dev/urandom | wc -c", "out\n2\n8\n"},
		{"trap 'echo bye' EXIT; trap 'x' INT TERM; echo hi", "hi\nbye\n"},
		{"sleep 1000; true; sync; : ; ! false && echo ok; nohup echo x", "ok\nx\n"},
		{"mktemp; mktemp -d; mktemp /d/fXXXX", "/tmp/tmp.0000000000\n/tmp/tmp.0000000001\n/d/f0000\n"},
		{"read a b < /csv; echo $a; while read -r l; do echo \"<$l>\"; done < /n | head -n 1", "a,b,c\n<10>\n"},
		{". /etc/os-release 2>/dev/null || echo none; yes=1; echo $yes & wait; eval 'echo e'; exec echo last; echo never", "none\n1\ne\nlast\n"},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			w := &world{}
			r := w.run(t, newStage(t, files...), sh(tt.script))
			if r.err != nil {
				t.Errorf("%v\n%s", r.err, r.stderr)
			}
			if r.stdout != tt.want {
				t.Errorf("got  %q\nwant %q\n%s", r.stdout, tt.want, r.stderr)
			}
			for _, f := range script.Check(sh(tt.script), script.Options{}) {
				if f.Class == script.Container {
					t.Errorf("refused: %v", f)
				}
			}
		})
	}
}

// The sh of Debian reads backslashes without -e.
func TestDashEcho(t *testing.T) {
	r := (&world{}).run(t, newStage(t, debian...), sh(`echo 'a\nb'; echo -e 'x\ty'`))
	if want := "a\nb\n-e x\ty\n"; r.stdout != want || r.err != nil {
		t.Errorf("got %q, %v, want %q", r.stdout, r.err, want)
	}
}
