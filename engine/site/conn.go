package site

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cctask/engine/runner"
)

const (
	// greetWithin bounds a first contact, in which the binary may be copied.
	greetWithin = 2 * time.Minute
	// quietFor is how long a host may say nothing while it is asked something, until
	// the connection counts as dead.
	quietFor = 15 * time.Second
)

// conn is one life of a far end.
type conn struct {
	proc  *exec.Cmd
	hello hello
	lines *bufio.Reader
	in    io.WriteCloser
	out   sync.Mutex // a line at a time
	gone  chan struct{}
	words tail // of its stderr
	heard atomic.Int64

	mu    sync.Mutex
	last  int64
	calls map[int64]chan answer
}

// tail keeps the last words of a command.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-2000):]
	return len(b), nil
}

// line is the last line that says something.
func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// dial starts the command of a host's pipe, with the environment of whoever called last.
func dial(c Config, argv, env []string, news func(string, runner.Sight)) (*conn, error) {
	path, err := lookPath(argv[0], env)
	if err != nil {
		return nil, err
	}
	k := &conn{proc: exec.Command(path, argv[1:]...), gone: make(chan struct{}), calls: map[int64]chan answer{}}
	k.proc.Env, k.proc.Stderr = append([]string{}, env...), &k.words
	k.proc.WaitDelay = time.Second
	k.proc.SysProcAttr = detached()
	if k.in, err = k.proc.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := k.proc.StdoutPipe()
	if err == nil {
		err = k.proc.Start()
	}
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(greetWithin, func() { _ = k.proc.Process.Kill() })
	k.lines = bufio.NewReader(out)
	k.hello, err = greet(c, k.in, k.lines)
	if !late.Stop() && err != nil {
		err = fmt.Errorf("nothing was heard for %v", greetWithin)
	}
	if err != nil {
		_ = k.in.Close()
		_ = k.proc.Process.Kill()
		_ = k.proc.Wait()
		if said := k.words.line(); said != "" && !errors.Is(err, errNoProgram) {
			err = errors.New(said)
		}
		return nil, err
	}
	go k.listen(news)
	return k, nil
}

// lookPath is exec.LookPath with the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	for _, v := range env {
		dirs, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(dirs) {
			if path, err := exec.LookPath(filepath.Join(dir, name)); filepath.IsAbs(dir) && err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is nowhere on PATH", name)
}

func (k *conn) listen(news func(string, runner.Sight)) {
	for {
		line, err := k.lines.ReadBytes('\n')
		var a answer
		if err != nil || json.Unmarshal(line, &a) != nil {
			break
		}
		k.heard.Store(time.Now().UnixNano())
		if a.ID == 0 {
			news(a.Name, a.Sight)
			continue
		}
		k.mu.Lock()
		back := k.calls[a.ID]
		delete(k.calls, a.ID)
		k.mu.Unlock()
		if back != nil {
			back <- a
		}
	}
	k.close()
	_ = k.proc.Wait()
	close(k.gone)
}

// close breaks the connection: what runs over there goes on.
func (k *conn) close() {
	_ = k.in.Close()
	_ = k.proc.Process.Kill()
}

var errBroken = errors.New("the connection broke")

// ask has an answer, or errBroken, or ctx's error. One that is sent has perhaps been
// carried out, whatever the error.
func (k *conn) ask(ctx context.Context, q call) (answer, error) {
	back := make(chan answer, 1)
	k.mu.Lock()
	k.last++
	q.ID = k.last
	k.calls[q.ID] = back
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.calls, q.ID)
		k.mu.Unlock()
	}()
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	sent := time.Now()
	go func() {
		k.out.Lock() // a pipe that nobody reads blocks
		defer k.out.Unlock()
		_, _ = k.in.Write(append(b, '\n'))
	}()
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	for {
		select {
		case a := <-back:
			return a, nil
		case <-k.gone:
			return answer{}, errBroken
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-quiet.C:
			if since := time.Since(time.Unix(0, max(k.heard.Load(), sent.UnixNano()))); since < quietFor {
				quiet.Reset(quietFor - since)
				continue
			}
			k.close()
			return answer{}, errBroken
		}
	}
}
