package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// shape is what tells manifests and indexes apart.
type shape struct {
	MediaType types.MediaType `json:"mediaType"`
	Config    json.RawMessage `json:"config"`
	Layers    json.RawMessage `json:"layers"`
	FSLayers  json.RawMessage `json:"fsLayers"`
	Manifests json.RawMessage `json:"manifests"`
}

// checkShape refuses a document that could be taken for another type than the
// one it is listed with, so that all readers see the same image (CVE-2021-41190,
// https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh).
func checkShape(raw []byte, mt types.MediaType) error {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if err := CheckKeys(raw); err != nil {
		return err
	}
	isImage := s.Config != nil || s.Layers != nil || s.FSLayers != nil
	isIndex := s.Manifests != nil
	switch {
	case s.MediaType != "" && s.MediaType != mt:
		return fmt.Errorf("it is listed as %s and calls itself %s", mt, s.MediaType)
	case isImage && isIndex:
		return errors.New("it has both layers and manifests")
	case mt.IsIndex() && isImage, mt.IsImage() && isIndex, s.FSLayers != nil:
		return fmt.Errorf("it is listed as %s and its content is of another type", mt)
	}
	return nil
}

func parseManifest(raw []byte, mt types.MediaType) (*v1.Manifest, error) {
	if err := checkShape(raw, mt); err != nil {
		return nil, err
	}
	return v1.ParseManifest(bytes.NewReader(raw))
}

func parseIndex(raw []byte, mt types.MediaType) (*v1.IndexManifest, error) {
	if err := checkShape(raw, mt); err != nil {
		return nil, err
	}
	return v1.ParseIndexManifest(bytes.NewReader(raw))
}

// CheckKeys refuses a document that has a key twice, be it in other letters: of
// such keys some readers take the first, some the last, and some only the one
// that is written as it should be, so that each sees another image.
func CheckKeys(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		name := strings.ToLower(strings.ToUpper(fmt.Sprint(key))) // as encoding/json takes them for the same
		if seen[name] {
			return fmt.Errorf("it has %q twice", name)
		}
		seen[name] = true
	}
	return nil
}
