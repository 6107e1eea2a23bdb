package base

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// ValidName says what is wrong with the name of a base, by its form alone, or
// nil.
func ValidName(s string) error {
	switch s {
	case "":
		return errors.New("it is empty; the base without files is scratch")
	case plan.Static, plan.Scratch:
		return nil
	}
	for _, prefix := range []string{layoutPrefix, archivePrefix} {
		if path, ok := strings.CutPrefix(s, prefix); ok {
			if path == "" {
				return fmt.Errorf("%s: the path is missing", s)
			}
			return nil
		}
	}
	if err := registry.CheckUserInfo(s); err != nil {
		return fmt.Errorf("malformed reference: %w", err)
	}
	if _, err := registry.ParseReference(s); err != nil {
		return fmt.Errorf("malformed reference %q: %w", s, err)
	}
	return nil
}
