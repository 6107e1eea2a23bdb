package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsing is one case of a parser: what it makes of in, or a part of its error.
type parsing[T any] struct {
	name, in string
	want     T
	wantErr  string
}

func testParsing[T any](t *testing.T, parse func(string) (T, error), tests []parsing[T]) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.in)
			if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func ptr[T any](v T) *T { return &v }
