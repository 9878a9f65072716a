package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tick is the kernel's unit of times in /proc/PID/stat, USER_HZ: see proc_pid_stat(5).
const tick = 10.0 // ms

// cpu is the processor time that a process has taken itself, in milliseconds, from
// the scheduler's own books, which count nanoseconds: see Documentation/scheduler/sched-stats.rst.
func cpu(pid int) (float64, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("read the threads of %d: %w", pid, err)
	}
	sum := 0.0
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		ns, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			return 0, err
		}
		sum += ns / 1e6
	}
	return sum, nil
}

// proc is one line of the process table; times in milliseconds.
type proc struct {
	pid, parent int
	own, reaped float64
	name        string
}

// table is every process, by pid.
func table() map[int]proc {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	all := map[int]proc{}
	for _, path := range dirs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name, in parentheses, may have spaces: fields count from its end.
		open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
		f := strings.Fields(string(text)[end+1:])
		number := func(i int) float64 { v, _ := strconv.ParseFloat(f[i], 64); return v }
		p := proc{parent: int(number(1)), own: tick * (number(11) + number(12)), reaped: tick * (number(13) + number(14)), name: string(text)[open+1 : end]}
		p.pid, _ = strconv.Atoi(strings.TrimSpace(string(text)[:open]))
		all[p.pid] = p
	}
	return all
}

// children is what the descendants of pid have taken, those that live and those
// that were reaped, in milliseconds. Of those that live it asks the scheduler: eight runners
// that are each rounded down to a tick would make 200 tasks cheaper by a third of a millisecond.
func children(pid int) float64 {
	all := table()
	sum := all[pid].reaped
	var add func(parent int)
	add = func(parent int) {
		for _, p := range all {
			if p.parent == parent {
				own, err := cpu(p.pid)
				if err != nil { // it has ended since
					own = p.own
				}
				sum += own + p.reaped
				add(p.pid)
			}
		}
	}
	add(pid)
	return sum
}

// private is the memory that pid has for itself alone, in megabytes.
func private(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "Private_") {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, err
			}
			sum += kb / 1024
		}
	}
	return sum, nil
}
