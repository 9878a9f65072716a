package storage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/internal/dump"
	"cctask/internal/testkit/storagetest"
	"cctask/migrations"
	"cctask/storage"
)

// filled makes a closed database with some tasks and returns its directory.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 25 {
		id := submit(t, db, i)
		advance(t, db, id, t0, task.Starting, task.Running)
		apply(t, db, chunk(id, 1, task.Stdout, 0, noise(r, 3000)))
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refused opens a directory whose file must not be opened nor touched.
func refused(t *testing.T, dir, name string, want error) {
	t.Helper()
	path := filepath.Join(dir, storage.FileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(dir, storage.Options{})
	if err == nil {
		_ = db.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: Open gave %v, want %v", name, err, want)
	}
	if err != nil && task.HintOf(err) == "" {
		t.Errorf("%s: the error %q has no next step", name, err)
	}
	if err := storage.CheckFile(path); !errors.Is(err, want) {
		t.Errorf("%s: CheckFile gave %v, want %v", name, err, want)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("%s: the file was changed, %v", name, err)
	}
	// Nothing may keep the lock: a repaired file must open.
	if entries, _ := os.ReadDir(dir); len(entries) > 2 {
		t.Errorf("%s: left behind: %v", name, entries)
	}
}

func TestDamagedFileIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := filepath.Join(dir, storage.FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	// The root page of the newest state, from the meta page that has it.
	newest := whole[:page]
	if binary.NativeEndian.Uint64(whole[page+64:]) > binary.NativeEndian.Uint64(whole[64:]) {
		newest = whole[page : 2*page]
	}
	root := int(binary.NativeEndian.Uint64(newest[32:])) * page
	damage := func(f func(b []byte)) []byte {
		b := bytes.Clone(whole)
		f(b)
		return b
	}
	for name, content := range map[string][]byte{
		"0 bytes":           {},
		"1 byte":            {0},
		"one page":          whole[:page],
		"half":              whole[:root],
		"text":              []byte(strings.Repeat("this is no database\n", 5000)),
		"zeroes":            make([]byte, len(whole)),
		"both metas gone":   damage(func(b []byte) { clear(b[:2*page]) }),
		"root page zeroed":  damage(func(b []byte) { clear(b[root : root+page]) }),
		"root page garbage": damage(func(b []byte) { copy(b[root+8:], bytes.Repeat([]byte{0xA5}, page-8)) }),
		"element too long":  damage(func(b []byte) { binary.NativeEndian.PutUint32(b[root+16+12:], 1<<30) }),
		"wrong page type":   damage(func(b []byte) { b[root+8] = 0x10 }),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, name, task.ErrCorrupt)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	storagetest.OpenIn(t, dir)
}

// Whatever byte of a file is wrong, opening and reading it ends in a result or
// an error, and an error leaves the file alone.
func TestFlippedBytesNeverCrash(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := filepath.Join(dir, storage.FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole = bytes.TrimRight(whole, "\x00")
	whole = append(whole, make([]byte, 2*os.Getpagesize()-len(whole)%os.Getpagesize())...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	opened, rounds := 0, 100
	if os.Getenv("CCTASK_HEAVY") != "" {
		rounds = 5000
	}
	for i := range rounds {
		b := bytes.Clone(whole)
		for range 1 + r.IntN(8) {
			// Headers and elements are at the beginnings of pages.
			at := r.IntN(len(b)/4096)*4096 + r.IntN(1<<(4+r.IntN(9)))
			b[at] ^= byte(1 + r.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		checked(t, path)
		db, err := storage.Open(dir, storage.Options{})
		if err != nil {
			after, rerr := os.ReadFile(path)
			if rerr != nil || !bytes.Equal(b, after) {
				t.Fatalf("%d: a refused file was changed: %v, %v", i, err, rerr)
			}
			continue
		}
		opened++
		_, _ = dump.Run(t.Context(), db, dump.Options{}, dump.Writer(io.Discard, "jsonl"))
		_, _ = db.List(t.Context(), task.Filter{})
		_ = db.Apply(queued(30, "more"))
		_ = db.Remove(idAt(i%25), task.ByRequest, time.Now())
		if err := db.Close(); err != nil {
			t.Fatalf("%d: close: %v", i, err)
		}
	}
	t.Logf("%d of %d could be opened", opened, rounds)
}

// Damage that leads bbolt's check round in circles, or lets it count to thousands of
// millions, is found and told as any other.
func TestCheckOfCirclesEnds(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	db, err := storage.Open(dir, storage.Options{})
	for i := 0; err == nil && i < 50; i++ { // enough for pages that lead to pages
		err = db.Apply(queued(100+i, strings.Repeat("long", 50)))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, storage.FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const (
		page, flags, more, child = 4096, 8, 12, 16 + 8
		branch                   = 1
	)
	damages := map[string]func(b []byte, id int){
		"a page below itself": func(b []byte, id int) { binary.NativeEndian.PutUint64(b[child:], uint64(id)) },
		"a page without end":  func(b []byte, _ int) { binary.NativeEndian.PutUint32(b[more:], 1<<29) },
	}
	for what, damage := range damages {
		n := 0
		for id := 2; id < len(whole)/page; id++ {
			at := whole[id*page:]
			if binary.NativeEndian.Uint64(at) != uint64(id) || at[flags] != branch {
				continue
			}
			n++
			b := bytes.Clone(whole)
			damage(b[id*page:], id)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			checked(t, path)
		}
		if n == 0 {
			t.Errorf("%s: there is none to be damaged", what)
		}
	}
}

// checked checks a file in a process of its own, as doctor does: bbolt's check may
// panic there, and must find what is wrong or say that nothing is.
func checked(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it says where it hangs
	cmd.Env = append(os.Environ(), childCheck+"="+path)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0) {
		t.Errorf("a check of %s: %v, %s", path, err, out)
	}
}

func TestNewerOrForeignFileIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := filepath.Join(dir, storage.FileName)
	edit := func(f func(tx *bolt.Tx) error) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(f), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(nil, migrations.Latest()+1))
	})
	refused(t, dir, "newer", task.ErrVersion)
	edit(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("meta")) })
	refused(t, dir, "foreign", task.ErrCorrupt)
}

// A file without one of its buckets, such as a copy that another program made,
// would be a panic at the first use.
func TestMissingBucketIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tasks", "env", "removing"} {
		dir := filled(t)
		raw, err := bolt.Open(filepath.Join(dir, storage.FileName), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(name)) })
		if err := errors.Join(err, raw.Close()); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, name, task.ErrCorrupt)
		if _, err := storage.Open(dir, storage.Options{}); !strings.Contains(err.Error(), fmt.Sprintf("no bucket %q", name)) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestLockedFileNamesItsHolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	db := storagetest.OpenIn(t, dir)
	_, err := storage.Open(dir, storage.Options{Timeout: time.Millisecond})
	me := fmt.Sprintf("process %d (", os.Getpid())
	if runtime.GOOS != "linux" {
		me = "another process"
	}
	if !errors.Is(err, task.ErrLocked) || !strings.Contains(fmt.Sprint(err), me) || task.HintOf(err) == "" {
		t.Errorf("Open of a held database: %v", err)
	}
	if _, err := storage.OpenReadOnly(db.Path(), time.Millisecond); !errors.Is(err, task.ErrLocked) {
		t.Errorf("OpenReadOnly of a held database: %v", err)
	}
}

func TestDirectoryIsOursAlone(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "made", "state")
	db := storagetest.OpenIn(t, dir)
	submit(t, db, 0) // makes env.key
	for path, want := range map[string]os.FileMode{
		dir: 0o700, db.Path(): 0o600, filepath.Join(dir, "env.key"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	open := filepath.Join(base, "open")
	link, file := filepath.Join(base, "link"), filepath.Join(base, "file")
	err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o750), os.Symlink(dir, link), os.WriteFile(file, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(base, "theirs")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	bad := []string{open, link, file}
	if os.Geteuid() == 0 {
		if err := os.Chown(theirs, 12345, -1); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, theirs)
	}
	for _, d := range bad {
		if _, err := storage.Open(d, storage.Options{}); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			t.Errorf("Open(%s): %v", d, err)
		}
	}
}

// A file cut off under the map is an error, not the end of the process.
func TestFileCutUnderTheMap(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(db.Path(), 8192); err != nil {
		t.Fatal(err)
	}
	if _, err := db.List(t.Context(), task.Filter{}); !errors.Is(err, task.ErrCorrupt) {
		t.Errorf("List: %v", err)
	}
	if err := db.Check(); !errors.Is(err, task.ErrCorrupt) {
		t.Errorf("Check: %v", err)
	}
	for range 2 {
		if err := db.Apply(queued(99, "x")); !errors.Is(err, task.ErrCorrupt) {
			t.Errorf("Apply: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A bucket whose value is too short for its header is refused before bbolt reads it.
func TestShortBucketIsRefused(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := filepath.Join(dir, storage.FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page, root, txid, flags, header, child, valueLength = 4096, 32, 64, 8, 16, 8, 12
	meta := b
	if binary.NativeEndian.Uint64(b[page+txid:]) > binary.NativeEndian.Uint64(b[txid:]) {
		meta = b[page:]
	}
	at := b[binary.NativeEndian.Uint64(meta[root:])*page:]
	for at[flags] == 1 { // a branch
		at = b[binary.NativeEndian.Uint64(at[header+child:])*page:]
	}
	binary.NativeEndian.PutUint32(at[header+valueLength:], 13)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err := storage.Open(dir, storage.Options{}); !errors.Is(err, task.ErrCorrupt) || !strings.Contains(err.Error(), "a bucket without its header") {
		t.Errorf("opened: %v, %v", db != nil, err)
	}
}
