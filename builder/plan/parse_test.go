package plan_test

import (
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
)

func TestParsePort(t *testing.T) {
	testParsing(t, plan.ParsePort, []parsing[[]string]{
		{name: "tcp is the default", in: "8080", want: []string{"8080/tcp"}},
		{name: "protocol", in: "53/udp", want: []string{"53/udp"}},
		{name: "upper case", in: "5060/SCTP", want: []string{"5060/sctp"}},
		{name: "range", in: "8000-8002", want: []string{"8000/tcp", "8001/tcp", "8002/tcp"}},
		{name: "range with protocol", in: "10-11/udp", want: []string{"10/udp", "11/udp"}},
		{name: "range of one", in: "7-7", want: []string{"7/tcp"}},
		{name: "zeros in front", in: "00080", want: []string{"80/tcp"}},
		{name: "highest", in: "65535", want: []string{"65535/tcp"}},
		{name: "host and container", in: "80:8080", wantErr: "the host's is given to `docker run -p`"},
		{name: "address and host", in: "127.0.0.1:80:8080", wantErr: "`docker run -p`"},
		{name: "zero", in: "0", wantErr: "ports go from 1 to 65535"},
		{name: "too high", in: "65536", wantErr: "ports go from 1 to 65535"},
		{name: "range too high", in: "65530-65536", wantErr: "ports go from 1 to 65535"},
		{name: "range backwards", in: "9-8", wantErr: "the lower one first"},
		{name: "unknown protocol", in: "80/http", wantErr: "the protocol is tcp, udp or sctp"},
		{name: "empty", in: "", wantErr: `malformed port ""`},
		{name: "no number", in: "http", wantErr: "it is PORT or PORT/udp"},
		{name: "negative", in: "-80", wantErr: "it is PORT or PORT/udp"},
		{name: "no protocol", in: "80/", wantErr: "it is PORT or PORT/udp"},
		{name: "open range", in: "80-", wantErr: "it is PORT or PORT/udp"},
		{name: "many digits", in: "000080", wantErr: "it is PORT or PORT/udp"},
		{name: "line break", in: "80\n", wantErr: "it is PORT or PORT/udp"},
	})
}

// A media server declares thousands of ports; all there are make a megabyte of
// configuration, which registries and engines take.
func TestParsePortWholeRange(t *testing.T) {
	ports, err := plan.ParsePort("1-65535/udp")
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 65535 || ports[0] != "1/udp" || ports[65534] != "65535/udp" {
		t.Errorf("got %d ports from %s to %s", len(ports), ports[0], ports[len(ports)-1])
	}
}

func TestParseKeyValue(t *testing.T) {
	parse := func(s string) ([]string, error) {
		key, value, err := plan.ParseKeyValue("env", s)
		return []string{key, value}, err
	}
	testParsing(t, parse, []parsing[[]string]{
		{name: "both", in: "A=b", want: []string{"A", "b"}},
		{name: "empty value", in: "A=", want: []string{"A", ""}},
		{name: "value with equals signs", in: "A=b=c=", want: []string{"A", "b=c="}},
		{name: "value with blanks", in: "A= b\n\tc ", want: []string{"A", " b\n\tc "}},
		{name: "not ASCII", in: "Ä=ö", want: []string{"Ä", "ö"}},
		{name: "label's key", in: "org.example.a/b-c=d", want: []string{"org.example.a/b-c", "d"}},
		{name: "empty", in: "", wantErr: `malformed env "": it is KEY=VALUE`},
		{name: "no value", in: "A", wantErr: "it is KEY=VALUE"},
		{name: "no key", in: "=b", wantErr: "it is KEY=VALUE"},
		{name: "blank in the key", in: "A B=c", wantErr: "it is KEY=VALUE"},
		{name: "line break in the key", in: "A\r\n=c", wantErr: "it is KEY=VALUE"},
		{name: "NUL", in: "A=b\x00", wantErr: "it has a NUL in it"},
		{name: "not UTF-8", in: "A=\xff", wantErr: "it is not UTF-8"},
	})
}

func TestParseUser(t *testing.T) {
	testParsing(t, plan.ParseUser, []parsing[string]{
		{name: "name", in: "nonroot", want: "nonroot"},
		{name: "number", in: "65532", want: "65532"},
		{name: "numbers", in: "65532:65532", want: "65532:65532"},
		{name: "name and number", in: "www-data:33", want: "www-data:33"},
		{name: "dots and underscores", in: "_a.b", want: "_a.b"},
		{name: "Samba's machine account", in: "host$", want: "host$"},
		{name: "highest number", in: "2147483647", want: "2147483647"},
		{name: "number that no engine takes", in: "2147483648", wantErr: "numbers go up to 2147483647"},
		{name: "group that no engine takes", in: "1:99999999999999999999", wantErr: "numbers go up to 2147483647"},
		{name: "empty", in: "", wantErr: `malformed user "": it is USER or USER:GROUP`},
		{name: "no group", in: "a:", wantErr: "it is USER or USER:GROUP"},
		{name: "no user", in: ":a", wantErr: "it is USER or USER:GROUP"},
		{name: "three parts", in: "a:b:c", wantErr: "it is USER or USER:GROUP"},
		{name: "negative", in: "-1", wantErr: "it is USER or USER:GROUP"},
		{name: "blank", in: "a b", wantErr: "it is USER or USER:GROUP"},
		{name: "line break", in: "a\n", wantErr: "it is USER or USER:GROUP"},
	})
}

func TestParseSignal(t *testing.T) {
	testParsing(t, plan.ParseSignal, []parsing[string]{
		{name: "name", in: "SIGTERM", want: "SIGTERM"},
		{name: "short name", in: "QUIT", want: "QUIT"},
		{name: "lower case", in: "sigusr1", want: "SIGUSR1"},
		{name: "number", in: "15", want: "15"},
		{name: "highest number", in: "64", want: "64"},
		{name: "real-time", in: "SIGRTMIN", want: "SIGRTMIN"},
		{name: "systemd's", in: "SIGRTMIN+3", want: "SIGRTMIN+3"},
		{name: "real-time from above", in: "RTMAX-14", want: "RTMAX-14"},
		{name: "zero", in: "0", wantErr: "a number from 1 to 64"},
		{name: "too high", in: "65", wantErr: "a number from 1 to 64"},
		{name: "sign", in: "+5", wantErr: "a number from 1 to 64"},
		{name: "empty", in: "", wantErr: `malformed signal ""`},
		{name: "misspelled", in: "SIGTREM", wantErr: "it is a name as SIGTERM"},
		{name: "prefix alone", in: "SIG", wantErr: "it is a name as SIGTERM"},
		{name: "prefix twice", in: "SIGSIGTERM", wantErr: "it is a name as SIGTERM"},
		{name: "real-time out of range", in: "RTMIN+16", wantErr: "it is a name as SIGTERM"},
		{name: "real-time the wrong way", in: "RTMAX+1", wantErr: "it is a name as SIGTERM"},
	})
}

func TestParseAbs(t *testing.T) {
	parse := func(s string) (string, error) { return plan.ParseAbs("volume", s) }
	testParsing(t, parse, []parsing[string]{
		{name: "clean", in: "/var/lib", want: "/var/lib"},
		{name: "root", in: "/", want: "/"},
		{name: "not clean", in: "//var/./lib/", want: "/var/lib"},
		{name: "dots in a name", in: "/a..b/...", want: "/a..b/..."},
		{name: "empty", in: "", wantErr: `malformed volume "": it is an absolute path in the image`},
		{name: "relative", in: "var/lib", wantErr: "it is an absolute path"},
		{name: "up", in: "/var/../lib", wantErr: "it has .. in it"},
		{name: "up at the end", in: "/var/..", wantErr: "it has .. in it"},
		{name: "line break", in: "/var\n", wantErr: "it is an absolute path"},
		{name: "NUL", in: "/var\x00", wantErr: "it has a NUL in it"},
		{name: "not UTF-8", in: "/\xc3", wantErr: "it is not UTF-8"},
	})
}

func TestParseCompression(t *testing.T) {
	testParsing(t, plan.ParseCompression, []parsing[plan.Compression]{
		{name: "name", in: "gzip", want: plan.Compression{Algorithm: "gzip"}},
		{name: "level", in: "zstd:19", want: plan.Compression{Algorithm: "zstd", Level: 19}},
		{name: "name that is not known here", in: "lz4:1", want: plan.Compression{Algorithm: "lz4", Level: 1}},
		{name: "empty", in: "", wantErr: `malformed compression "": it is NAME or NAME:LEVEL, as gzip:9`},
		{name: "no name", in: ":9", wantErr: "it is NAME or NAME:LEVEL"},
		{name: "no level", in: "gzip:", wantErr: "it is NAME or NAME:LEVEL"},
		{name: "zero", in: "gzip:0", wantErr: "it is NAME or NAME:LEVEL"},
		{name: "sign", in: "gzip:+9", wantErr: "it is NAME or NAME:LEVEL"},
		{name: "word", in: "gzip:best", wantErr: "it is NAME or NAME:LEVEL"},
		{name: "huge", in: "gzip:" + strings.Repeat("9", 99), wantErr: "it is NAME or NAME:LEVEL"},
	})
}
