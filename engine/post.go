package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// post is a site as the engine uses it.
type post struct {
	Site
	name     string        // "": this machine
	attached chan struct{} // tells its watch that there is a run to be looked at
	repaired bool          // what earlier owners left there is looked after; the watch's
}

func newPost(name string, s Site) *post {
	return &post{Site: s, name: name, attached: make(chan struct{}, 1)}
}

// obstacle is what holds up every task of a site that lacks something.
func (p *post) obstacle() obstacle {
	if p.name == "" {
		return machine
	}
	return obstacle{task.WaitSite, p.name}
}

// at is the site of a name. One that the settings do not know any more is silent: what
// may run there is not judged.
func (e *Engine) at(name string) *post {
	if p := e.posts[name]; p != nil {
		return p
	}
	if name == "" {
		return newPost("", e.site)
	}
	return newPost(name, unset(name))
}

// siteOf is the site that a new task asks for. Its claude is that of the site.
func (e *Engine) siteOf(s *task.Spec, env []string) (*post, error) {
	if e.posts[s.Site] == nil {
		known := slices.DeleteFunc(slices.Sorted(maps.Keys(e.posts)), func(name string) bool { return name == "" })
		return nil, &task.Error{
			Code: task.CodeInvalid, Message: fmt.Sprintf("site: there is no %q", s.Site),
			Hint: fmt.Sprintf("Name one of the owner's settings file (%s), or leave it out for this machine. An owner reads new sites when it starts: `cctask daemon stop` lets it leave.", strings.Join(known, ", ")),
		}
	}
	if s.Site != "" && (s.WorkdirMode == task.DirWorktree || s.WithCCTask) {
		return nil, task.Errorf(task.CodeInvalid, "Leave one of the two out.", "workdir_mode worktree and with_cctask are for tasks of this machine, and this one is to run at %s", s.Site)
	}
	at := e.at(s.Site)
	at.calledFrom(env)
	at.claudeOf(s)
	return at, nil
}

// claudeOf puts the site's own claude into a specification that names none.
func (p *post) claudeOf(s *task.Spec) {
	if p.name != "" {
		s.Claude = cmp.Or(s.Claude, p.Where().Claude)
	}
}

// calledFrom lets the site be reached as whoever has submitted reaches it.
func (p *post) calledFrom(env []string) {
	if from, ok := p.Site.(interface{ CalledFrom(env []string) }); ok {
		from.CalledFrom(env)
	}
}

// Read is that of a Site, for an attempt that is live.
func (e *Engine) Read(ctx context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error) {
	id, _, _ := ParseRunName(name)
	t, err := e.store.Task(id)
	if err != nil {
		return 0, 0, err
	}
	return e.at(t.Spec.Site).Read(ctx, name, stream, b, off)
}

// unset is a site that the settings file does not have.
type unset string

func (u unset) err() error {
	return fmt.Errorf("%w: there is no [sites.%s] in the settings file", runner.ErrSilent, string(u))
}

func (u unset) Where() runner.Place { return runner.Place{Site: string(u)} }
func (u unset) Start(context.Context, string, runner.Order) (runner.Sight, error) {
	return runner.Sight{}, fmt.Errorf("%w: %w", runner.ErrNotStarted, u.err())
}

func (u unset) Look(context.Context, ...string) (map[string]runner.Sight, error) { return nil, u.err() }
func (u unset) Follow(func(string, runner.Sight))                                {}
func (u unset) Stop(context.Context, string, string, bool) error                 { return u.err() }
func (u unset) Keep(context.Context, string) error                               { return u.err() }
func (u unset) Clear(context.Context, string, bool) error                        { return u.err() }
func (u unset) Read(context.Context, string, string, []byte, int64) (int, int64, error) {
	return 0, 0, u.err()
}

func (u unset) Ask(context.Context, string, int) (runner.File, error) {
	return runner.File{}, u.err()
}
