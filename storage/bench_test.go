package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

func benchDB(b *testing.B) *storage.DB {
	b.Helper()
	db, err := storage.Open(filepath.Join(b.TempDir(), "state"), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

// BenchmarkApply submits tasks from several callers at once.
func BenchmarkApply(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(callers, "callers"), func(b *testing.B) {
			db := benchDB(b)
			var next atomic.Int64
			before, err := db.Commits()
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						if err := db.Apply(queued(i, "bench")); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			after, err := db.Commits()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(after-before), "writes/commit")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	db := benchDB(b)
	ids := storagetest.Fill(b, db, 10_000, t0, nil)
	b.ResetTimer()
	for i := range b.N {
		if _, err := db.Task(ids[i*7919%len(ids)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLarge is what people and the owner do on 100,000 tasks.
func BenchmarkLarge(b *testing.B) {
	db := benchDB(b)
	ids := storagetest.Fill(b, db, 100_000, t0, func(i int, w *task.Write) {
		if i%10_000 == 0 {
			w.Task.Spec.Labels = []string{"rare"}
		}
	})
	dir := filepath.Dir(db.Path())
	lists := map[string]task.Filter{
		"first": {}, "failed": {Statuses: []task.Status{task.Failed}}, "rareLabel": {Labels: []string{"rare"}},
		"statusAndRareLabel": {Statuses: []task.Status{task.Completed}, Labels: []string{"rare"}},
		"name":               {Name: "module 4711*"}, "noName": {Name: "nobody"}, "directory": {WorkingDir: "/home/person/project/7"},
		"noDirectory": {WorkingDir: "/nowhere"}, "reverse": {Reverse: true}, "noSearch": {Search: "not there"},
	}
	for _, s := range task.Sorts {
		lists["by-"+string(s)] = task.Filter{Sort: s}
	}
	for name, f := range lists {
		b.Run("List/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := db.List(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, f := range map[string]func() error{
		"Resolve/suffix": func() error {
			_, err := db.Resolve(string(ids[50_000][14:]))
			return err
		},
		"Counts": func() error {
			_, err := db.Counts()
			return err
		},
		"Expired": func() error {
			_, err := db.Expired(task.KeepPolicy{Count: 1}, t0, 10)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			db, err := storage.Open(dir, storage.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(err, db.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSeal seals text as the engine does, 16 pieces a commit, and puts the same
// text into a bare bbolt, a commit a piece; both in turn, so that the ratio holds on a
// machine that others use too.
func BenchmarkSeal(b *testing.B) {
	const piece, group = 256 << 10, 16
	text := prose(b, 64*piece)
	db := benchDB(b)
	w := queued(0, "bench")
	if err := db.Apply(w); err != nil {
		b.Fatal(err)
	}
	raw, err := bolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	var ours, theirs time.Duration
	b.SetBytes(piece * group)
	b.ResetTimer()
	for i := range b.N {
		at := i * group * piece
		part := text[at%len(text):][:group*piece]
		began := time.Now()
		whole := chunk(w.Task.ID, 1, task.Stdout, at, part)
		if err := db.Apply(whole); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		for n := range group {
			if err := raw.Update(func(tx *bolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists([]byte("output"))
				if err != nil {
					return err
				}
				return bucket.Put(fmt.Appendf(nil, "%016x", at+n*piece), []byte(part[n*piece:(n+1)*piece]))
			}); err != nil {
				b.Fatal(err)
			}
		}
		theirs += time.Since(began)
		b.StartTimer()
	}
	b.StopTimer()
	info, err := os.Stat(db.Path())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-raw")
	b.ReportMetric(float64(info.Size())/float64(b.N*group*piece), "size/byte")
}

// prose is text that packs as what claude prints does: lines of this module's source.
func prose(b *testing.B, n int) string {
	b.Helper()
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		b.Fatal(err)
	}
	var all []string
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, strings.SplitAfter(string(data), "\n")...)
	}
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		from := i * 7919 % len(all)
		fmt.Fprintf(&text, `{"type":"assistant","message":{"id":"msg_%08x","content":[{"type":"text","text":%q}]}}`+"\n", i*2654435761%(1<<32), strings.Join(all[from:min(len(all), from+5+i%20)], ""))
	}
	return text.String()[:n]
}
