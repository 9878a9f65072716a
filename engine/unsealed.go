package engine

import (
	"context"
	"errors"
	"io/fs"

	"cctask/engine/task"
)

// Unsealed is a source of what is recorded, with what live attempts have printed
// since the last sealed chunk, which only their site has.
type Unsealed struct {
	task.Source
	At interface {
		Read(ctx context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error)
	}
}

// Page looks at the output of live attempts after their records: what there is more
// is newer, never older, than the record.
func (u Unsealed) Page(q task.DumpQuery) (task.DumpPage, error) {
	p, err := u.Source.Page(q)
	for i := range p.Tasks {
		s := &p.Tasks[i]
		n := s.Task.Attempt
		if !s.Task.Status.Live() || n > len(s.Sizes) {
			continue
		}
		for _, st := range streams {
			size := s.Sizes[n-1].Of(st)
			if _, now, err := u.At.Read(context.Background(), runName(s.Task.ID, n), string(st), nil, 0); err == nil && now > *size {
				*size, s.Small = now, nil
			}
		}
	}
	return p, err
}

func (u Unsealed) Stream(id task.ID, n int, st task.Stream, offset int64, limit int) ([]byte, error) {
	data, err := u.Source.Stream(id, n, st, offset, limit)
	if err != nil || len(data) > 0 || st != task.Stdout && st != task.Stderr {
		return data, err
	}
	data = make([]byte, limit)
	got, _, err := u.At.Read(context.Background(), runName(id, n), string(st), data, offset)
	if got > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return data[:got], err
	}
	// The attempt has ended since: its files went when all of it was sealed.
	return u.Source.Stream(id, n, st, offset, limit)
}
