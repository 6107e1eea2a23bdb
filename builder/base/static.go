package base

import (
	"bytes"
	_ "embed" // for the layer
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

//go:generate go run ./gen -zoneinfo $GOROOT/lib/time/zoneinfo.zip -o static.tar.gz

// staticLayerGzip is what the static base consists of, the same for every
// platform: users, CA roots, time zones, /tmp and a home, but no program.
//
//go:embed static.tar.gz
var staticLayerGzip []byte

// staticCreatedBy is the one line of the static base in "docker history".
const staticCreatedBy = "stagectl static base: CA certificates, time zones, users root, nobody and nonroot"

// staticPlatforms are the platforms that the static base stands for when all of
// the base's are asked for: those that Go builds for and images are run on.
var staticPlatforms = []v1.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64"},
	{OS: "linux", Architecture: "arm", Variant: "v7"},
	{OS: "linux", Architecture: "arm", Variant: "v6"},
	{OS: "linux", Architecture: "386"},
	{OS: "linux", Architecture: "ppc64le"},
	{OS: "linux", Architecture: "riscv64"},
	{OS: "linux", Architecture: "s390x"},
}

// The digests of the embedded bytes. Each image on the static base has them in
// its own, so they change on purpose only: with go generate, and a line in the
// change log. Most builds do not even read the bytes, so a test compares them.
const (
	staticLayerDigest = "585a5952bda93747d1a2deea3e38443865bfa3225637e2ff18ec2a7bf59d386b"
	staticLayerDiffID = "b47a4270f3ea8b7680b2458e313b0ef1732b0c821d9a8aa6a7cd36ca00450dd5"
)

// staticBlob is what partial needs to know of the embedded bytes, which it then
// passes on as they are.
type staticBlob struct{}

var (
	_ partial.CompressedLayer = staticBlob{}
	_ partial.WithDiffID      = staticBlob{}
)

func (staticBlob) Digest() (v1.Hash, error) { return sha256Hash(staticLayerDigest), nil }
func (staticBlob) DiffID() (v1.Hash, error) { return sha256Hash(staticLayerDiffID), nil }
func (staticBlob) Size() (int64, error)     { return int64(len(staticLayerGzip)), nil }

func sha256Hash(hex string) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex} }

func (staticBlob) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

func (staticBlob) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(staticLayerGzip)), nil
}

// staticImage returns the static base for platform p. It runs as a user who is
// not root, given by number, because Kubernetes checks runAsNonRoot against a
// number only.
func staticImage(p v1.Platform) (v1.Image, error) {
	layer, err := partial.CompressedToLayer(staticBlob{})
	if err != nil {
		return nil, fmt.Errorf("reading the static base: %w", err)
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	epoch := v1.Time{Time: time.Unix(0, 0).UTC()}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: p.Architecture,
		Variant:      p.Variant,
		OS:           p.OS,
		OSVersion:    p.OSVersion,
		OSFeatures:   p.OSFeatures,
		Created:      epoch,
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			User: "65532",
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
			},
			WorkingDir: "/",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("configuring the static base: %w", err)
	}
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: epoch, CreatedBy: staticCreatedBy},
	})
	if err != nil {
		return nil, fmt.Errorf("assembling the static base: %w", err)
	}
	return img, nil
}
