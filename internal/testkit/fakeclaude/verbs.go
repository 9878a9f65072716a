package fakeclaude

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// verbs are the directives of the package comment.
var verbs = map[string]func(r *run, args string) error{
	"text": func(r *run, args string) error {
		r.said = args
		r.assistant(object{"type": "text", "text": args})
		return nil
	},
	"tool": func(r *run, args string) error {
		r.assistant(object{"type": "tool_use", "id": "toolu_" + newUUID(), "name": args, "input": object{}})
		return nil
	},
	"sh": func(r *run, args string) error {
		r.begin()
		sh := exec.Command("sh", "-c", args)
		sh.Env = append([]string{}, os.Environ()...)
		out, err := sh.CombinedOutput()
		r.said = strings.TrimSpace(string(out))
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			r.said += "\nexit " + strconv.Itoa(exit.ExitCode())
			err = nil
		}
		r.assistant(object{"type": "text", "text": r.said})
		return err
	},
	"print": func(r *run, args string) error {
		r.begin()
		put(os.Stdout, []byte(args+"\n"))
		return nil
	},
	"stderr": func(_ *run, args string) error {
		put(os.Stderr, []byte(args+"\n"))
		return nil
	},
	"flood": func(r *run, args string) error {
		r.begin()
		return flood(os.Stdout, args)
	},
	"flood-stderr": func(_ *run, args string) error { return flood(os.Stderr, args) },
	"torn": func(r *run, _ string) error {
		r.begin()
		put(os.Stdout, []byte(`{"type":"assistant","message":{"content":[{"type":"text","te`))
		return nil
	},
	"replay": (*run).replay,
	"append": func(_ *run, args string) error {
		name, text, _ := strings.Cut(args, " ")
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(f, text)
		return errors.Join(err, f.Close())
	},
	"alone": func(_ *run, args string) error {
		f, err := os.OpenFile(args, os.O_CREATE|os.O_RDWR, 0o644)
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err != nil {
			return err
		}
		<-time.After(20 * time.Millisecond)
		return f.Close()
	},
	"exec": func(r *run, args string) error {
		r.begin()
		words := strings.Fields(args)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	},
	"gate": func(r *run, args string) error {
		r.begin()
		return waitGate(args)
	},
	"delay": func(_ *run, args string) error {
		d, err := time.ParseDuration(args)
		<-time.After(d)
		return err
	},
	"hang": func(r *run, _ string) error {
		r.begin()
		<-time.After(OrphanLife)
		return fmt.Errorf("no signal in %v", OrphanLife)
	},
	"ignore-term": func(r *run, _ string) error {
		r.ignoreTerm.Store(true)
		return nil
	},
	"orphan": (*run).orphan,
	"cost": func(r *run, args string) (err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cost, err = strconv.ParseFloat(args, 64)
		return err
	},
	"turns": func(r *run, args string) (err error) {
		r.turns, err = strconv.Atoi(args)
		return err
	},
	"structured": func(r *run, args string) error {
		r.structured = json.RawMessage(args)
		return nil
	},
	"result": func(r *run, args string) error {
		r.begin()
		r.result(object{"subtype": "success", "is_error": false, "result": args})
		return nil
	},
	"is-error": func(r *run, args string) error {
		r.code = 1
		r.begin()
		r.result(object{"subtype": "success", "is_error": true, "result": args, "terminal_reason": "api_error"})
		return nil
	},
	"error": func(r *run, args string) error {
		r.code = 1
		r.begin()
		r.result(object{"subtype": args, "is_error": true, "errors": []string{"scripted " + args}})
		return nil
	},
	"no-result": func(r *run, _ string) error {
		r.begin()
		r.done = true
		return nil
	},
	"exit": func(_ *run, args string) error {
		code, err := strconv.Atoi(args)
		if err == nil {
			syscall.Exit(end(code))
		}
		return err
	},
	"kill": func(_ *run, args string) error {
		sig, err := strconv.Atoi(args)
		if err == nil {
			err = syscall.Kill(os.Getpid(), syscall.Signal(sig))
			<-time.After(OrphanLife) // until the signal arrives
		}
		return err
	},
}

func flood(f *os.File, args string) error {
	n, err := strconv.Atoi(args)
	if err == nil {
		put(f, Flood(n))
	}
	return err
}

// replay prints a recording in place of all events.
func (r *run) replay(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r.exist()
	r.done = true
	_, err = io.Copy(os.Stdout, f)
	return err
}
