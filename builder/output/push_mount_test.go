package output_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// A base's layers are mounted from where the base was found, and never read.
func TestPushMountsBase(t *testing.T) {
	reg := newRegistry(t)
	dockerBase, err := random.Image(2000, 2)
	if err != nil {
		t.Fatal(err)
	}
	base := reg.base(t, "base/alpine:v1", dockerBase)
	tests := []struct {
		name, repo string
		refused    bool
		status     int
		// mounted from, and whether it comes to an upload.
		mounts, uploads int
	}{
		{"mounted", "team/a", false, 0, 2, 0},
		{"refused", "team/b", true, 0, 2, 2},
		{"answered with an error", "team/c", true, http.StatusForbidden, 2, 2},
		{"the base's own repository", "base/alpine", false, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg.mu.Lock()
			reg.mounts = !tt.refused
			reg.mu.Unlock()
			reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
				if tt.status == 0 || req.URL.Query().Get("mount") == "" {
					return false
				}
				w.WriteHeader(tt.status)
				return true
			})
			own := newLayer(t, "own", 1000)
			r := newResult("x", []image.Platform{onBase(t, amd64, base, own)}, reg.host+"/"+tt.repo+":own")
			reg.take()
			push(t, r)
			log := reg.take()
			m, err := r.Images[0].Image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			var mounts, uploads int
			for _, l := range m.Layers[:2] {
				mounts += len(matching(log, "^MOUNT "+tt.repo+" from base/alpine: "+l.Digest.String()))
				uploads += len(matching(log, "^PUT "+tt.repo+" upload "+l.Digest.String()))
			}
			if mounts != tt.mounts || uploads != tt.uploads {
				t.Errorf("%d mounts and %d uploads, want %d and %d: %q", mounts, uploads, tt.mounts, tt.uploads, log)
			}
			if got := matching(log, "^GET base/alpine/blobs"); len(got) != tt.uploads {
				t.Errorf("downloads of the base: %q", got)
			}
			if got := reg.pull(t, tt.repo+":own"); got != digestOf(t, r) {
				t.Errorf("pulled %s", got)
			}
		})
	}
	t.Run("another registry", func(t *testing.T) {
		other := newRegistry(t)
		r := newResult("x", []image.Platform{onBase(t, amd64, base)}, other.host+"/x:v1")
		push(t, r)
		if got := matching(other.take(), "^MOUNT"); len(got) > 0 {
			t.Errorf("mounts from another registry: %q", got)
		}
		other.pull(t, "x:v1")
	})
}

// However many repositories there are, each layer is sent to a registry once.
func TestPushMountsOwn(t *testing.T) {
	reg, other := newRegistry(t), newRegistry(t)
	common := newLayer(t, "common", 1000)
	named := func(name string) image.Result {
		images := []image.Platform{
			newImage(t, amd64, common, newLayer(t, name+" amd64", 1000)),
			newImage(t, arm64, common, newLayer(t, name+" arm64", 1000)),
		}
		return newResult(name, images, reg.host+"/"+name+":v1", reg.host+"/copy/"+name+":v1", other.host+"/"+name+":v1")
	}
	results := []image.Result{named("a"), named("b"), named("c")}
	push(t, results...)
	for _, where := range []*fakeRegistry{reg, other} {
		uploads := map[string]int{}
		for _, line := range matching(where.take(), "^PUT .* upload") {
			uploads[line[strings.LastIndex(line, " ")+1:]]++
		}
		for _, r := range results {
			for _, p := range r.Images {
				m, err := p.Image.Manifest()
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range m.Layers {
					if got := uploads[l.Digest.String()]; got != 1 {
						t.Errorf("layer %s was uploaded %d times", l.Digest, got)
					}
				}
			}
		}
	}
	for _, tag := range []string{"a:v1", "copy/a:v1", "b:v1", "copy/b:v1", "c:v1", "copy/c:v1"} {
		reg.pull(t, tag)
	}
	other.pull(t, "c:v1")
}

// An image that keeps its slice of layers gets it back as it was.
func TestPushLeavesImage(t *testing.T) {
	reg := newRegistry(t)
	img := newImage(t, amd64, newLayer(t, "server", 1000))
	layers, err := img.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	own := &keepsLayers{img.Image, layers}
	before := layers[0]
	img.Image = own
	push(t, newResult("x", []image.Platform{img}, reg.host+"/a:v1", reg.host+"/b:v1", reg.host+"/c:v1"))
	if own.layers[0] != before {
		t.Errorf("its layer is a %T now", own.layers[0])
	}
}

type keepsLayers struct {
	v1.Image
	layers []v1.Layer
}

func (k *keepsLayers) Layers() ([]v1.Layer, error) { return k.layers, nil }

func TestPushForeignLayer(t *testing.T) {
	reg := newRegistry(t)
	img := newImage(t, amd64, foreign{newLayer(t, "foreign", 1000)}, newLayer(t, "own", 1000))
	r := newResult("x", []image.Platform{img}, reg.host+"/x:v1")
	push(t, r)
	if got := matching(reg.take(), "^PUT x upload"); len(got) != 2 {
		t.Errorf("not only the own layer and the config were uploaded: %q", got)
	}
	desc, err := remote.Get(reg.ref(t, "x:v1"))
	if err != nil || desc.Digest != digestOf(t, r) {
		t.Errorf("got %v, %v", desc, err)
	}
}

// An index may list what is neither an image nor an index, and have a method of
// its own for what it lists.
func TestPushIndex(t *testing.T) {
	reg := newRegistry(t)
	r := multi(t, reg.host+"/a:v1", reg.host+"/b:v1")
	thing := static.NewLayer([]byte("thing"), "application/x-thing")
	r.Index = mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: r.Images[0].Image}, mutate.IndexAddendum{Add: r.Images[1].Image}, mutate.IndexAddendum{Add: thing})
	push(t, r)
	log := reg.take()
	for _, repo := range []string{"a", "b"} {
		l, err := remote.Layer(reg.ref(t, repo+"@"+digestOf(t, thing).String()).(name.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if rc, err := l.Compressed(); err != nil {
			t.Errorf("%s has not got the thing: %v", repo, err)
		} else if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if desc, err := remote.Get(reg.ref(t, repo+":v1")); err != nil || desc.Digest != digestOf(t, r) {
			t.Errorf("got %v, %v", desc, err)
		}
	}
	if got := matching(log, "^MOUNT b from a: "); len(got) != 3 {
		t.Errorf("not all layers were mounted: %q", got)
	}
	r.Index = onlyIndex{r.Index}
	r.Tags = []string{reg.host + "/c:v1"}
	_, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{r})
	wantError(t, err, fmt.Sprintf("pushing to %s/c: finding %s in the index: file does not exist", reg.host, digestOf(t, thing)))
}

// onlyIndex has the methods of an index and no others.
type onlyIndex struct{ imageIndex }

type imageIndex = v1.ImageIndex

// Several pushes at once share images, a client and what is known of the registry.
func TestPushConcurrently(t *testing.T) {
	reg := newRegistry(t)
	var opens atomic.Int32
	common := opened{newLayer(t, "common", 1000), func(l v1.Layer) (io.ReadCloser, error) {
		opens.Add(1)
		return l.Compressed()
	}}
	var results []image.Result
	for i := range 4 {
		images := []image.Platform{newImage(t, amd64, common, newLayer(t, fmt.Sprint(i), 1000)), newImage(t, arm64, common)}
		r := newResult(fmt.Sprint(i), images)
		for j := range 3 {
			r.Tags = append(r.Tags, fmt.Sprintf("%s/%d-%d:v1", reg.host, i, j))
		}
		results = append(results, r)
	}
	c := client()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var events recorder
			if _, err := (&output.Registry{Client: c, Jobs: 8, Progress: events.Event}).Write(t.Context(), results); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := opens.Load(); got != 1 {
		t.Errorf("the common layer was read %d times", got)
	}
	for _, r := range results {
		for _, tag := range r.Tags {
			reg.pull(t, strings.TrimPrefix(tag, reg.host+"/"))
		}
	}
}
