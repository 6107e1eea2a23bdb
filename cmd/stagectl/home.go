package main

import (
	"errors"
	"os"
)

// errNoCacheDir is the error where the user has no cache directory.
var errNoCacheDir = errors.New("finding the cache directory: neither $XDG_CACHE_HOME nor $HOME is set")

func userCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil || dir == "" {
		return "", errNoCacheDir
	}
	return dir, nil
}

func homeless() bool {
	home, err := os.UserHomeDir()
	return err != nil || home == ""
}
