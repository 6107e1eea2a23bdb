package corpus

import (
	"fmt"
	"os"
	"strings"
)

// ReadDifferences reads what is known to differ between the images of stagectl
// and of BuildKit: lines of the form
//
//	CASE: FACT: REASON
//
// with a fact of Describe, or * for a case that BuildKit cannot build where the
// tests run. It returns the reasons by case and fact.
func ReadDifferences(file string) (map[string]map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	known := map[string]map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, ": ", 3)
		if len(parts) < 3 || parts[2] == "" {
			return nil, fmt.Errorf("%s:%d: it is CASE: FACT: REASON", file, i+1)
		}
		of := known[parts[0]]
		if of == nil {
			of = map[string]string{}
			known[parts[0]] = of
		}
		of[parts[1]] = parts[2]
	}
	return known, nil
}
