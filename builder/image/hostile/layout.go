package hostile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// WriteLayout makes an OCI layout in dir of an image for linux/amd64: Base, and
// on it the layer that blob is, which the config says to be plain.
func WriteLayout(dir, blob, plain string) error {
	type object = map[string]any
	files := map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}
	add := func(mediaType, content string) object {
		digest := digestOf(content)
		files["blobs/sha256/"+digest] = content
		return object{"mediaType": "application/vnd.oci.image." + mediaType, "digest": "sha256:" + digest, "size": len(content)}
	}
	asJSON := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err) // of strings and numbers
		}
		return string(raw)
	}
	config := asJSON(object{"os": "linux", "architecture": "amd64", "rootfs": object{
		"type": "layers", "diff_ids": []string{"sha256:" + digestOf(Base()), "sha256:" + digestOf(plain)},
	}})
	manifest := asJSON(object{"schemaVersion": 2, "config": add("config.v1+json", config), "layers": []object{
		add("layer.v1.tar", Base()), add("layer.v1.tar+gzip", blob),
	}})
	files["index.json"] = asJSON(object{"schemaVersion": 2, "manifests": []object{add("manifest.v1+json", manifest)}})
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
