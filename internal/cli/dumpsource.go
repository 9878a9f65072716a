package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/cli/doctor"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/storage"
)

// dumpTries bounds how often an owner may come or go under one question.
const dumpTries = 5

// source is who can be asked for a dump.
type source interface {
	task.Source
	Resolve(ref string) (task.Match, error)
}

// dumpSource asks whoever can tell: the owner, the file while nobody holds it, a
// copy of the file while somebody holds it who does not answer. It looks anew
// when an owner has come or gone in the middle: what was read before stays true,
// since each task is read as it stands at one moment and streams only grow.
type dumpSource struct {
	ctx    context.Context
	a      *app
	s      settings.Settings
	path   string // of the database
	lone   bool   // the file is to be read, whoever serves it
	now    source // nil: to be found
	client *ipc.Client
	temp   string // holds the copy; "" as long as there is none
}

func (d *dumpSource) close() {
	if d.client != nil {
		d.client.Close()
	}
	if d.temp != "" {
		_ = os.RemoveAll(d.temp) // nothing is lost with it
	}
}

// asked asks, and asks the next one when this one was taken away.
func asked[T any](d *dumpSource, f func(source) (T, error)) (v T, err error) {
	for try := 1; ; try++ {
		err = nil
		if d.now == nil {
			d.now, err = d.find()
		}
		if err == nil {
			v, err = f(d.now)
		}
		moved := errors.Is(err, task.ErrLocked) || errors.Is(err, task.ErrOwnerGone) || errors.Is(err, task.ErrClosing)
		if !moved || try == dumpTries || d.ctx.Err() != nil {
			return v, err
		}
		d.now = nil
	}
}

func (d *dumpSource) find() (source, error) {
	if d.lone {
		file, err := storage.OpenOffline(d.path)
		if errors.Is(err, task.ErrLocked) {
			return d.copy("")
		}
		return file, err
	}
	lock, held, err := ipc.Inspect(d.s.Dir)
	switch {
	case err != nil:
		return nil, err
	case !held:
		return storage.OpenOffline(d.path)
	case lock.Phase == ipc.PhaseEmbedded:
		return d.copy(d.s.Dir)
	}
	if d.client == nil {
		d.client = d.a.client(d.s, false)
	}
	h, err := d.client.Hello(d.ctx)
	if err == nil && h.Phase == ipc.PhaseServing {
		return ownerSource{d.ctx, d.client}, nil
	}
	if d.ctx.Err() != nil {
		return nil, d.ctx.Err()
	}
	if _, held, lookErr := ipc.Inspect(d.s.Dir); lookErr == nil && held {
		return d.copy(d.s.Dir)
	}
	return nil, err
}

// copy reads a copy of the file from now on, in a directory inside parent.
func (d *dumpSource) copy(parent string) (source, error) {
	temp, err := os.MkdirTemp(parent, doctor.CopyPrefix)
	if err != nil {
		return nil, fmt.Errorf("make room for a copy of the database: %w", err)
	}
	d.temp = temp
	path := filepath.Join(temp, storage.FileName)
	if err := storage.CopyLive(d.path, path); err != nil {
		return nil, err
	}
	return storage.OpenOffline(path)
}

// ownerSource asks the owner.
type ownerSource struct {
	ctx context.Context
	c   *ipc.Client
}

func (o ownerSource) Resolve(ref string) (task.Match, error) { return o.c.Resolve(o.ctx, ref) }

func (o ownerSource) Page(q task.DumpQuery) (task.DumpPage, error) { return o.c.Page(o.ctx, q) }

func (o ownerSource) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	return o.c.Stream(o.ctx, id, n, s, offset, limit)
}

// Page looks at the files of live attempts after their records: what they have
// more is newer, never older, than the record. A spool holds all of its
// attempt's output until that is in the database.
func (d *dumpSource) Page(q task.DumpQuery) (task.DumpPage, error) {
	p, err := asked(d, func(s source) (task.DumpPage, error) { return s.Page(q) })
	for i := range p.Tasks {
		s := &p.Tasks[i]
		n := s.Task.Attempt
		if !s.Task.Status.Live() || n > len(s.Sizes) {
			continue
		}
		for _, st := range []task.Stream{task.Stdout, task.Stderr} {
			size := s.Sizes[n-1].Of(st)
			path, ok := d.spool(s.Task.ID, n, st)
			if !ok {
				continue
			}
			if info, err := os.Lstat(path); err == nil && info.Size() > *size {
				*size, s.Small = info.Size(), nil
			}
		}
	}
	return p, err
}

func (d *dumpSource) spool(id task.ID, n int, st task.Stream) (string, bool) {
	if d.lone {
		return "", false
	}
	run, err := runner.Open(filepath.Join(d.s.Dir, "run", fmt.Sprintf("%s.%d", id, n)))
	switch {
	case err != nil:
	case st == task.Stdout:
		return run.Stdout(), true
	case st == task.Stderr:
		return run.Stderr(), true
	}
	return "", false
}

func (d *dumpSource) Stream(id task.ID, n int, st task.Stream, offset int64, limit int) ([]byte, error) {
	sealed := func() ([]byte, error) {
		return asked(d, func(s source) ([]byte, error) { return s.Stream(id, n, st, offset, limit) })
	}
	data, err := sealed()
	if err != nil || len(data) > 0 {
		return data, err
	}
	path, ok := d.spool(id, n, st)
	if !ok {
		return nil, nil
	}
	data, err = readAt(path, offset, limit)
	if len(data) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	// The attempt has ended since: its file went when all of it was sealed.
	return sealed()
}

func readAt(path string, offset int64, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, limit)
	n, err := f.ReadAt(data, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
