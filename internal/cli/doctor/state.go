package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/internal/statedir"
	"cctask/internal/sys"
	"cctask/storage"
)

const (
	// leastSpace is what one task may print by default.
	leastSpace = task.DefaultMaxOutput
	// copiedAtMost is the size of a database that is copied to be checked while
	// an owner has it open.
	copiedAtMost = 2 << 30
	// leftoverAge is when a temporary directory of a command cannot be in use.
	leftoverAge = 24 * time.Hour
	// CopyPrefix is how the directories begin that hold a copy of the database
	// for as long as a command reads it.
	CopyPrefix = "dump-"
	clockSlack = time.Minute
)

func (d *Doctor) checkDirectory(context.Context) (f Finding) {
	dir := d.s.Dir
	why := statedir.ReadOnly(dir, storage.FileName)
	d.copied = why != nil && ipc.ReadOnly(dir, storage.FileName) != nil
	if why != nil {
		f = failed(why)
		f.Text += "; list, status, logs, dump and report read it"
		d.there, d.usable = true, d.copied
		return f
	}
	err := statedir.Check(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return note("", "%s is not there yet; the first task makes it", dir)
	}
	if err == nil {
		d.there, d.usable = true, true
		return ok("%s", dir)
	}
	f = failed(err)
	fi, statErr := os.Lstat(dir)
	if d.there = statErr == nil && fi.IsDir(); !d.there {
		return f
	}
	if mode := fi.Mode().Perm(); mode&0o077 != 0 {
		f = problem(fmt.Sprintf("Close it: chmod 700 %q", dir), "%s: mode %04o, want %04o", dir, mode, 0o700)
		f.fix = func() error {
			err := os.Chmod(dir, 0o700)
			d.usable = err == nil
			return err
		}
	}
	return f
}

// checkModes looks at what lies in the state directory: whoever could read it
// would read prompts, whoever could write it would run commands as its owner.
func (d *Doctor) checkModes(context.Context) Finding {
	dir := d.s.Dir
	var fixes []func() error
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			// A run that ended meanwhile has taken its files with it.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if e.IsDir() && filepath.Dir(filepath.Dir(path)) == d.file("worktrees") {
			return fs.SkipDir // its modes are the repository's, and what is around it is closed
		}
		fi, err := e.Info()
		if err != nil || path == dir || fi.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if found := fi.Mode().Perm(); found&^want != 0 {
			fixes = append(fixes, func() error { return os.Chmod(path, want) })
			lines = append(lines, fmt.Sprintf("%s: mode %04o, want %04o", path, found, want))
		}
		return nil
	})
	if err != nil {
		return failed(fmt.Errorf("look through the state directory: %w", err))
	}
	if len(fixes) == 0 {
		return ok("every file is closed to others")
	}
	f := problem("Close them with chmod, or run `cctask doctor --fix`.", "%s", strings.Join(lines, "\n"))
	f.fix = func() (err error) {
		for _, fix := range fixes {
			err = errors.Join(err, fix())
		}
		return err
	}
	return f
}

// checkOwner says who holds the state directory, and whether it answers.
func (d *Doctor) checkOwner(ctx context.Context) Finding {
	var err error
	if d.lock, d.held, err = ipc.Holder(d.s.Dir); err != nil {
		return failed(err)
	}
	switch {
	case !d.held:
		return ok("none runs; the next command that needs one starts it")
	case d.lock.Phase != ipc.PhaseServing:
		return note("", "%s holds the state directory", d.lock)
	}
	client := d.Dial(d.s, false)
	h, err := client.Hello(ctx)
	if err != nil {
		client.Close()
		f := failed(err)
		f.Text = fmt.Sprintf("%s does not answer: %s", d.lock, f.Text)
		return f
	}
	d.tasks = ownersTasks{client, ctx}
	if h.Notice != "" {
		return problem("", "%s", h.Notice)
	}
	if h.Version != d.Version {
		return note("The next task that is started makes it hand over; running tasks go on.",
			"process %d has version %s, this is %s", h.PID, h.Version, d.Version)
	}
	if len(h.Untold) > 0 {
		return note("Correct [notify] in the settings file, or the task's notify; it is tried for a day.", "%s", strings.Join(h.Untold, "; "))
	}
	return ok("process %d (version %s) answers; %s running, %d queued", h.PID, h.Version, show.Plural(h.Live, "task"), h.Queued)
}

func (d *Doctor) checkDatabase(ctx context.Context) Finding {
	path := d.file(storage.FileName)
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok("there is none yet")
	case err != nil:
		return failed(err)
	case d.held:
		return d.checkCopy(ctx, path, fi.Size())
	}
	if err := checkDatabaseFile(ctx, path); err != nil {
		return failed(err)
	}
	db, err := storage.OpenReadOnly(path, storage.DefaultTimeout)
	if err != nil {
		return failed(err)
	}
	d.tasks = db
	return ok("%s is whole (%s)", path, show.Bytes(fi.Size()))
}

// checkCopy checks a copy: the owner's writers would have to wait for a check
// of the file itself.
func (d *Doctor) checkCopy(ctx context.Context, path string, bytes int64) Finding {
	const stop = "`cctask daemon stop` and then `cctask doctor` checks it; running tasks go on."
	if bytes > copiedAtMost {
		return note(stop, "not checked: an owner has it open, and it is too large to copy (%s)", show.Bytes(bytes))
	}
	if left := sys.Free(d.s.Dir); left < uint64(bytes)+leastSpace {
		return note(stop, "not checked: an owner has it open, and the disk is too full for a copy of %s (%s free)", show.Bytes(bytes), show.Bytes(int64(left)))
	}
	temp, err := os.MkdirTemp(d.s.Dir, CopyPrefix)
	if err != nil {
		return failed(fmt.Errorf("make room for a copy of the database: %w", err))
	}
	defer func() { _ = os.RemoveAll(temp) }()
	dst := filepath.Join(temp, storage.FileName)
	if err := storage.CopyLive(path, dst); errors.Is(err, task.ErrLocked) {
		return note(stop, "not checked: the owner was writing all the time")
	} else if err != nil {
		return failed(err)
	}
	if err := checkDatabaseFile(ctx, dst); err != nil {
		f := failed(err)
		f.Text, f.Hint = strings.ReplaceAll(f.Text, dst, path), strings.ReplaceAll(f.Hint, dst, path)
		return f
	}
	return ok("a copy of %s is whole (%s)", path, show.Bytes(bytes))
}

// checkRuns looks for run directories that nobody follows, and for what
// commands that were killed have left.
func (d *Doctor) checkRuns(ctx context.Context) Finding {
	runs, err := filepath.Glob(d.file("run/*"))
	if err != nil {
		return failed(err)
	}
	live, dead := 0, 0
	for _, dir := range runs {
		if r, err := runner.Open(dir); err == nil {
			if up, err := r.Alive(); err == nil && up {
				live++
				continue
			}
		}
		dead++
	}
	lost, _ := filepath.Glob(d.file("lost/*"))
	old := leftovers(d.s.Dir)
	switch {
	case dead > 0 && !d.held:
		f := problem("The next owner seals what they hold: run any command, or `cctask doctor --fix`.", "%s without a process, and no owner to look after them", show.Plural(dead, "run"))
		f.fix = func() error { return d.wakeOwner(ctx) }
		return f
	case len(old) > 0:
		f := problem("Remove them, or run `cctask doctor --fix`.", "left by commands that were killed: %s", strings.Join(old, ", "))
		f.fix = func() (err error) {
			for _, dir := range old {
				err = errors.Join(err, os.RemoveAll(dir))
			}
			return err
		}
		return f
	case len(lost) > 0:
		return note("They belong to no record; look into them, then remove them.", "%s in %s", show.Plural(len(lost), "run"), d.file("lost"))
	}
	return ok("%s with a process, none left over", show.Plural(live, "run"))
}

// leftovers are the temporary copies of commands that did not come to removing them,
// and files that did not come to their names (sys.WriteFile).
func leftovers(dir string) []string {
	var old []string
	copies, _ := filepath.Glob(filepath.Join(dir, CopyPrefix+"*"))
	files, _ := filepath.Glob(filepath.Join(dir, ".*-*"))
	for _, temp := range append(copies, files...) {
		if fi, err := os.Stat(temp); err == nil && time.Since(fi.ModTime()) > leftoverAge {
			old = append(old, temp)
		}
	}
	return old
}

// wakeOwner starts an owner, which cleans up before it serves.
func (d *Doctor) wakeOwner(ctx context.Context) error {
	client := d.Dial(d.s, true)
	defer client.Close()
	_, err := client.Hello(ctx)
	return err
}

// checkProcesses looks for processes of tasks that have ended. An owner or a
// runner may have been born inside a task's tree: both are ours.
func (d *Doctor) checkProcesses(context.Context) Finding {
	marked, err := runner.Marked()
	if err != nil {
		return failed(err)
	}
	var left []string
	for name, pids := range marked {
		idText, _, _ := strings.Cut(name, ".")
		id, err := task.ParseID(idText)
		if err != nil || d.tasks == nil {
			continue
		}
		// A task of another state directory is not known here.
		if t, err := d.tasks.Task(id); err != nil || !t.Status.Ended() {
			continue
		}
		for _, p := range pids {
			if p.Name != "cctask" && p.Name != runner.ProcessName && p.PID != d.lock.PID {
				left = append(left, fmt.Sprintf("%d (%s) of task %s", p.PID, p.Name, id))
			}
		}
	}
	if len(left) == 0 {
		return ok("none left of a task that has ended")
	}
	return problem("See what they do, then end them with kill.", "still alive: %s", strings.Join(left, ", "))
}

func (d *Doctor) checkDisk(context.Context) Finding {
	left := sys.Free(d.s.Dir)
	text := fmt.Sprintf("%s free at %s", show.Bytes(int64(min(left, 1<<62))), d.s.Dir)
	if left < leastSpace {
		return problem("Free some space, or choose another disk with --dir; one task may print 1 GiB.", "%s", text)
	}
	return ok("%s", text)
}

// checkClock compares with the newest record: a clock that was set back makes
// ages, deadlines and the order of lists wrong.
func (d *Doctor) checkClock(ctx context.Context) Finding {
	now := time.Now()
	if d.tasks == nil {
		return ok("%s", now.Format(time.RFC3339))
	}
	page, err := d.tasks.List(ctx, task.Filter{Limit: 1})
	if err != nil {
		return failed(err)
	}
	if len(page.Tasks) > 0 && page.Tasks[0].CreatedAt.After(now.Add(clockSlack)) {
		return problem("Set the clock, for example by NTP.", "it says %s, but the newest task was made at %s",
			now.Format(time.RFC3339), page.Tasks[0].CreatedAt.Local().Format(time.RFC3339))
	}
	return ok("%s, not before the newest task", now.Format(time.RFC3339))
}
