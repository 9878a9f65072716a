package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/cli/doctor"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/storage"
)

// dumpTries bounds how often an owner may come or go under one question.
const dumpTries = 5

type source interface {
	task.Source
	resolver
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
		file, err := storage.OpenOffline(d.path)
		return d.beside(file), err
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
	file, err := storage.OpenOffline(path)
	if d.lone {
		return file, err
	}
	return d.beside(file), err
}

// beside reads a file of the state directory, and the runs that are there: nobody
// serves it.
func (d *dumpSource) beside(file *storage.Offline) source {
	return struct {
		engine.Unsealed
		resolver
	}{engine.Unsealed{Source: file, At: &runner.Local{Dir: d.s.Dir}}, file}
}

type resolver interface {
	Resolve(ref string) (task.Match, error)
}

type ownerSource struct {
	ctx context.Context
	c   *ipc.Client
}

func (o ownerSource) Resolve(ref string) (task.Match, error) { return o.c.Resolve(o.ctx, ref) }

func (o ownerSource) Page(q task.DumpQuery) (task.DumpPage, error) { return o.c.Page(o.ctx, q) }

func (o ownerSource) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	return o.c.Stream(o.ctx, id, n, s, offset, limit)
}

func (d *dumpSource) Page(q task.DumpQuery) (task.DumpPage, error) {
	return asked(d, func(s source) (task.DumpPage, error) { return s.Page(q) })
}

func (d *dumpSource) Stream(id task.ID, n int, st task.Stream, offset int64, limit int) ([]byte, error) {
	return asked(d, func(s source) ([]byte, error) { return s.Stream(id, n, st, offset, limit) })
}
