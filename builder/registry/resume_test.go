package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// ranges are those that a registry was asked for.
func ranges(reg *faulty.Registry) []string {
	var all []string
	for _, r := range reg.Seen() {
		if faulty.EndpointOf(r) == faulty.BlobGet {
			all = append(all, r.Header.Get("Range"))
		}
	}
	return all
}

// TestResume has a download break off, in the middle or nearly at an end, and
// go on there.
func TestResume(t *testing.T) {
	half, all := len(content)/2, len(content)
	last := "262143"
	cut := []faulty.Fault{faulty.Cut(half), faulty.Short(half)}
	tests := map[string]struct {
		faults []faulty.Fault
		want   []string // the ranges; nil where it fails
	}{
		"a reset":           {cut[:1], []string{"", "bytes=131072-" + last}},
		"an early end":      {cut[1:], []string{"", "bytes=131072-" + last}},
		"several":           {[]faulty.Fault{faulty.Short(1000), faulty.Short(1000), faulty.Short(1000)}, []string{"", "bytes=1000-" + last, "bytes=2000-" + last, "bytes=3000-" + last}},
		"at the beginning":  {[]faulty.Fault{faulty.Short(0)}, []string{"", "bytes=0-" + last}},
		"before the end":    {[]faulty.Fault{faulty.Short(all - 1)}, []string{"", "bytes=262143-" + last}},
		"trouble meanwhile": {[]faulty.Fault{cut[1], faulty.Status(503), faulty.Status(502)}, []string{"", "bytes=131072-" + last, "bytes=131072-" + last, "bytes=131072-" + last}},
		"no ranges":         {[]faulty.Fault{cut[1], faulty.NoRange}, []string{"", "bytes=131072-" + last}},
		"no ranges, twice":  {[]faulty.Fault{cut[1], noRangeShort(all * 3 / 4), faulty.NoRange}, []string{"", "bytes=131072-" + last, "bytes=196608-" + last}},
		"refused ranges":    {[]faulty.Fault{cut[1], faulty.Status(416)}, []string{"", "bytes=131072-" + last, ""}},
		"another range":     {[]faulty.Fault{cut[1], otherRange}, []string{"", "bytes=131072-" + last, ""}},
		"too often":         {slices.Repeat([]faulty.Fault{faulty.Short(1000)}, 5), nil},
		"gone":              {[]faulty.Fault{cut[1], faulty.Status(404)}, nil},
		"forbidden":         {[]faulty.Fault{cut[1], faulty.Status(403)}, nil},
		"no parts at all":   {[]faulty.Fault{cut[1], otherRange, otherRange}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := faulty.NewWithTokens(t, "user", "secret")
			for _, f := range tt.faults {
				reg.Inject(faulty.BlobGet, 1, f)
			}
			c, _ := impatient()
			c.Keychain = password{"user", "secret"}
			read, err := pushAndPull(t, c, reg.Host)
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("got error %v", err)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(read, content) {
				t.Errorf("got %d bytes, which are not those that there are", len(read))
			}
			got := ranges(reg)
			if name == "a reset" && len(got) == 2 && got[1] != "" { // which may take some of the bytes along
				got[1] = tt.want[1]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
		})
	}
}

func noRangeShort(n int) faulty.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		faulty.Short(n)(w, r, next)
	}
}

func otherRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Set("Range", "bytes=0-5")
	next.ServeHTTP(w, r)
}

// TestResumeOften has a large download that breaks more often than a small one
// may, but not without having come further.
func TestResumeOften(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	reg := faulty.New(t)
	c, w := impatient()
	ref := parse(t, c, reg.Host+"/a:v1")
	layer := static.NewLayer(large, types.OCILayer)
	if err := upload(t, c, ref.Context(), layer); err != nil {
		t.Fatal(err)
	}
	pusher, err := c.Pusher(ref.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := pusher.Put(t.Context(), ref, smallImage(t, layer)); err != nil {
		t.Fatal(err)
	}
	reg.Inject(faulty.BlobGet, 9, faulty.Short(1<<20))
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := pull(t, c, ref, v1.Descriptor{Digest: digest, Size: int64(len(large))})
	if err != nil || !bytes.Equal(got, large) || reg.Left() > 0 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	for _, d := range w.taken() {
		if d.Seconds() > 1.25 {
			t.Errorf("waits %v, want the shortest each time", w.all)
			break
		}
	}
}

// TestResumeOnlyWhatBroke does not hide other errors.
func TestResumeOnlyWhatBroke(t *testing.T) {
	c, w := impatient()
	broken := errors.New("another error")
	rc := io.NopCloser(io.MultiReader(bytes.NewReader([]byte("abc")), failing{broken}))
	r := c.Resume(t.Context(), parse(t, c, "r.test/a").Context(), v1.Descriptor{Size: 10}, rc)
	if got, err := io.ReadAll(r); string(got) != "abc" || !errors.Is(err, broken) || len(w.all) > 0 {
		t.Errorf("got %q, %v, waits %v", got, err, w.all)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
