package storage_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

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

// BenchmarkSeal seals full chunks of text such as claude prints.
func BenchmarkSeal(b *testing.B) {
	db := benchDB(b)
	w := queued(0, "bench")
	if err := db.Apply(w); err != nil {
		b.Fatal(err)
	}
	data := lines(256 << 10)
	b.SetBytes(int64(len(data)))
	b.ResetTimer()
	for i := range b.N {
		if err := db.Apply(chunk(w.Task.ID, 1, task.Stdout, i*len(data), data)); err != nil {
			b.Fatal(err)
		}
	}
}
