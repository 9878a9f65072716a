// Command bench measures the built cctask against its rivals, whole processes
// side by side, and prints a row for each promise: the ratio to the rival, which
// holds on any machine, and the figures behind it, which do not. Every round runs
// both sides one after the other, so that a noisy neighbour meets both; a ratio is
// the median over the rounds. It works in a temporary home, starts claude only
// against a scripted API on loopback, and ends what it started.
//
// It may import internal/testkit/fakeapi and internal/testkit/realclaude; it must never know
// cctask's packages: what a user cannot see is not measured here.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// row is one promise.
type row struct {
	name, against, unit string
	most                bool    // the ratio is to stay below bound; else above
	bound               float64 // 0: only shown
	rounds              int     // at most, for what takes long; 0: as many as asked for
	// round measures both sides once; against may be 0 where there is no rival.
	round func(*bench) (ours, theirs float64, err error)
}

// bench is the world that the rounds share.
type bench struct {
	cctask, empty, stub, home, work string
	env                             []string
	others                          []*bench // the same in state directories of their own
}

func main() {
	bin := flag.String("cctask", "bin/cctask", "the built `binary`")
	rounds := flag.Int("rounds", 9, "how many `times` both sides are measured")
	only := flag.String("only", "", "measure the rows whose name matches this `expression`")
	flag.Parse()
	if err := run(*bin, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(bin string, rounds int, only string) error {
	want, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	b, err := newBench(bin)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Println("| what | against | ours | theirs | ratio | bound |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, r := range rows() {
		if !want.MatchString(r.name) {
			continue
		}
		if err := r.measure(b, rounds); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// measure prints the row's line.
func (r row) measure(b *bench, rounds int) error {
	var ours, theirs, ratios []float64
	if r.rounds > 0 {
		rounds = min(rounds, r.rounds)
	}
	for range rounds {
		o, t, err := r.round(b)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, o), append(theirs, t)
		if t > 0 {
			ratios = append(ratios, o/t)
		}
	}
	them, ratio, bound := "-", "-", "-"
	if len(ratios) > 0 {
		them = fmt.Sprintf("%.3g %s", median(theirs), r.unit)
		ratio = fmt.Sprintf("%.2fx", median(ratios))
	}
	if r.bound > 0 {
		sign, unit := "≥", "x"
		if r.most {
			sign = "≤"
		}
		if len(ratios) == 0 {
			unit = " " + r.unit
		}
		bound = fmt.Sprintf("%s %.3g%s", sign, r.bound, unit)
	}
	fmt.Printf("| %s | %s | %.3g %s | %s | %s | %s |\n", r.name, r.against, median(ours), r.unit, them, ratio, bound)
	return nil
}

func median(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// newBench builds the rivals and a home with a stub for claude in it.
func newBench(bin string) (*bench, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "cctask-bench")
	if err != nil {
		return nil, err
	}
	b := &bench{cctask: bin, home: home, empty: filepath.Join(home, "emptymcp"), stub: filepath.Join(home, "claude"), work: filepath.Join(home, "work")}
	b.env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + home, "LANG=C.UTF-8",
		"CCTASK_DIR=" + filepath.Join(home, "state"), "CCTASK_CLAUDE=" + b.stub, "CCTASK_JOBS=8", "TS_SOCKET=" + filepath.Join(home, "ts"),
	}
	if err := os.Mkdir(b.work, 0o755); err != nil {
		return b, err
	}
	if err := os.WriteFile(b.stub, []byte(stubScript), 0o755); err != nil {
		return b, err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", b.empty, "cctask/internal/testkit/bench/emptymcp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return b, fmt.Errorf("build the empty server: %w\n%s", err, out)
	}
	return b, nil
}

// stubScript prints what claude does of a trivial task, in four lines, and costs
// next to nothing itself.
const stubScript = `#!/bin/sh
s=01939f5e-0000-4000-8000-000000000001
printf '%s\n' '{"type":"system","subtype":"init","session_id":"'$s'","model":"claude-opus-5-5","claude_code_version":"2.1.330"}' \
 '{"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"text","text":"A stub answers."}]},"session_id":"'$s'"}' \
 '{"type":"system","subtype":"status","session_id":"'$s'"}' \
 '{"type":"result","subtype":"success","is_error":false,"result":"A stub answers.","num_turns":1,"duration_ms":1,"total_cost_usd":0.001,"session_id":"'$s'"}'
`

// close ends the owner and the rival's server, and removes the home.
func (b *bench) close() {
	for _, own := range append(b.others, b) {
		_ = own.command(b.cctask, "daemon", "stop", "--cancel").Run()
	}
	_ = b.command("tsp", "-K").Run()
	_ = os.RemoveAll(b.home)
}

func (b *bench) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env, c.Dir = append([]string{}, b.env...), b.work
	return c
}

// output runs a command to its end; what it said on stderr is in the error.
func (b *bench) output(name string, args ...string) (string, error) {
	out, err := b.command(name, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// timed is the wall time of a command in milliseconds.
func (b *bench) timed(name string, args ...string) (float64, error) {
	begin := time.Now()
	_, err := b.output(name, args...)
	return float64(time.Since(begin).Microseconds()) / 1000, err
}
