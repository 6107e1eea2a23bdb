package transfer

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/limit"
)

func TestManyEntries(t *testing.T) {
	root := &tar.Header{Name: ".", Typeflag: tar.TypeDir}
	for entries, want := range map[int]string{limit.Entries - 1: "", limit.Entries: "it has more than 4194304 entries"} {
		x := &extraction{tar: tar.NewReader(strings.NewReader(hostile.Tar())), entries: entries}
		if err := x.all(t.Context(), root); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("with %d before: got error %v, want %q", entries, err, want)
		}
	}
}
