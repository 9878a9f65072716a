package ipc

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"cctask/internal/statedir"
)

// maxSocketPath is the longest path that both Linux (107) and macOS bind.
const maxSocketPath = 103

// socketDir is where an owner of dir binds its socket: dir itself, unless its
// paths are too long for a socket. The choice may depend on the owner's
// environment, so fronts take the endpoint from owner.lock only.
func socketDir(dir string) (string, error) {
	if bindable(dir) {
		return dir, nil
	}
	name := fmt.Sprintf("cctask-%x", sha256.Sum256([]byte(dir)))[:23]
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		short := filepath.Join(base, name)
		// The temporary directory is everybody's: a name that somebody else
		// took first fails the check.
		if there, err := os.Stat(base); filepath.IsAbs(base) && err == nil && there.IsDir() && bindable(short) && statedir.Make(short) == nil {
			return short, nil
		}
	}
	short, err := os.MkdirTemp("/tmp", "cctask-")
	if err != nil {
		return "", fmt.Errorf("make a directory for the socket: %w", err)
	}
	return short, nil
}

// bindable leaves room for the longest name, sock.<pid>, and refuses one that
// owner.lock, which is JSON, cannot tell.
func bindable(dir string) bool {
	return utf8.ValidString(dir) && len(filepath.Join(dir, "sock.4194304")) <= maxSocketPath
}

// ReadOnly tells why the tasks of a state directory, in its file, can only be read;
// nil: they cannot be read either, or there is an owner who can write, as behind a mount.
func ReadOnly(dir, file string) error {
	why := statedir.ReadOnly(dir, file)
	if _, err := os.Stat(filepath.Join(dir, file)); why == nil || err != nil {
		return nil
	}
	if _, held, err := Inspect(dir); err == nil && held {
		return nil
	}
	return why
}
