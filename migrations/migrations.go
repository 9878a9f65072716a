// Package migrations holds the steps that bring a database file to the newest
// schema. A step is frozen once it was released: it names buckets and keys by
// its own literals, so that a later change elsewhere cannot alter it.
//
// It imports bbolt, and of ours internal/sys alone; it must never know what the records
// mean to the engine, nor how the file is opened or locked.
//
// Steps go forward only. All pending ones run in one transaction, after a copy
// of the file was laid beside it. A new step needs a fixture of the version
// before it in testdata/db and a test; a count test holds this.
package migrations

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"

	"cctask/internal/sys"
)

// Errors of Run and Check. The file is untouched in both cases.
var (
	ErrNewer   = errors.New("the database has a newer schema")
	ErrForeign = errors.New("the file is not a cctask database")
)

// Step brings a database from the version before it to Version.
type Step struct {
	Version uint32
	Migrate func(*bolt.Tx) error
}

// steps in order; the version of step i is i+1.
var steps = []Step{
	{Version: 1, Migrate: create},
	{Version: 2, Migrate: summarise},
}

// Latest is the schema version that this program writes.
func Latest() uint32 { return steps[len(steps)-1].Version }

var (
	bucketMeta = []byte("meta")
	keySchema  = []byte("schema")
)

// Version reads the schema version: 0 for a file without any bucket,
// ErrForeign for a file of something else.
func Version(tx *bolt.Tx) (uint32, error) {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return 0, ErrForeign
		}
		return 0, nil
	}
	v := b.Get(keySchema)
	if len(v) != 4 {
		return 0, ErrForeign
	}
	return binary.BigEndian.Uint32(v), nil
}

// Run brings db to the newest schema. With nothing pending it writes nothing.
func Run(db *bolt.DB) error { return run(db, steps) }

func run(db *bolt.DB, steps []Step) error {
	var from uint32
	err := db.View(func(tx *bolt.Tx) (err error) {
		from, err = Version(tx)
		return err
	})
	if err != nil {
		return err
	}
	latest := steps[len(steps)-1].Version
	switch {
	case from > latest:
		return fmt.Errorf("%w: version %d, this program knows %d", ErrNewer, from, latest)
	case from == latest:
		return nil
	case from > 0:
		if err := backup(db, from); err != nil {
			return fmt.Errorf("back up before the migration: %w", err)
		}
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, s := range steps {
			if s.Version <= from {
				continue
			}
			if err := s.Migrate(tx); err != nil {
				return fmt.Errorf("migrate to schema %d: %w", s.Version, err)
			}
			if err := tx.Bucket(bucketMeta).Put(keySchema, binary.BigEndian.AppendUint32(nil, s.Version)); err != nil {
				return fmt.Errorf("record schema %d: %w", s.Version, err)
			}
		}
		return nil
	})
}

// backup copies the file to <path>.v<from>.bak, whole or not at all.
func backup(db *bolt.DB, from uint32) error {
	return sys.WriteFile(fmt.Sprintf("%s.v%d.bak", db.Path(), from), func(w io.Writer) error {
		return db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(w)
			return err
		})
	})
}
