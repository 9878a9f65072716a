package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	streamBytes = 128 << 20
	pieceBytes  = 256 << 10 // of one value of the raw database
	dumped      = 100_000   // tasks of a dump
)

// sealed is what one task with a long stream came to.
type sealed struct{ mbs, raw, size, written float64 }

// seal runs a claude that prints a long stream, in a state of its own.
func (b *bench) seal() (s sealed, err error) {
	stream, err := b.stream()
	if err != nil {
		return s, err
	}
	own := *b
	state := filepath.Join(b.home, "sealed")
	own.env = append(append([]string{}, b.env...), "CCTASK_DIR="+state)
	defer os.RemoveAll(state)
	defer func() { _, _ = own.output(b.cctask, "daemon", "stop", "--cancel") }()
	owner, err := own.owner()
	if err != nil {
		return s, err
	}
	talker := filepath.Join(b.home, "talker")
	first, rest, _ := strings.Cut(stubScript, "printf")
	if err := os.WriteFile(talker, []byte(first+"cat "+stream+"\nprintf"+rest), 0o755); err != nil {
		return s, err
	}
	ms, err := own.timed(b.cctask, "run", "--max-output", "1GiB", "--claude", talker, "A long answer.")
	if err != nil {
		return s, err
	}
	s.written = written(owner) / streamBytes
	s.mbs = streamBytes / 1e3 / ms
	info, err := os.Stat(filepath.Join(state, "tasks.db"))
	if err != nil {
		return s, err
	}
	s.size = float64(info.Size()) / streamBytes
	s.raw, err = rawPieces(filepath.Join(b.home, "raw.db"), stream)
	return s, err
}

// stream is a file with lines as claude prints them: no two are the same, and they
// pack like the sentences and code that they hold.
func (b *bench) stream() (string, error) {
	path := filepath.Join(b.home, "stream")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	sources, err := filepath.Glob("*/*.go")
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no text for a stream: start bench at the root of the module: %w", err)
	}
	var text []string
	for _, name := range sources {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		text = append(text, strings.SplitAfter(string(data), "\n")...)
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	w := bufio.NewWriter(f)
	for n, i := 0, 0; n < streamBytes; i++ {
		from := i * 7919 % len(text)
		part := strings.Join(text[from:min(len(text), from+5+i%20)], "")
		line, _ := json.Marshal(map[string]any{"type": "assistant", "session_id": "01939f5e-0000-4000-8000-000000000001", "message": map[string]any{
			"id": fmt.Sprintf("msg_%08x", i*2654435761%(1<<32)), "role": "assistant", "content": []any{map[string]any{"type": "text", "text": part}},
		}})
		k, _ := w.Write(append(line, '\n')) // Flush repeats its error
		n += k
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return path, f.Close()
}

// written is what a process, all below it that live and all that were reaped have
// given to the disk, in bytes: see proc_pid_io(5).
func written(pid int) float64 {
	all, sum := table(), 0.0
	var add func(pid int)
	add = func(pid int) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)) // gone: it wrote nothing more
		_, rest, _ := strings.Cut(string(text), "\nwrite_bytes: ")
		n, _ := strconv.ParseFloat(strings.SplitN(rest, "\n", 2)[0], 64)
		sum += n
		for _, p := range all {
			if p.parent == pid {
				add(p.pid)
			}
		}
	}
	add(pid)
	return sum
}

// rawPieces puts the stream into a bare bbolt, a piece and a commit each, and
// tells how many megabytes a second that makes.
func rawPieces(path, stream string) (float64, error) {
	f, err := os.Open(stream)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = db.Close()
		_ = os.Remove(path)
	}()
	begin, n := time.Now(), 0
	for piece := make([]byte, pieceBytes); ; {
		k, err := io.ReadFull(f, piece)
		if k == 0 {
			return float64(n) / 1e6 / time.Since(begin).Seconds(), nil
		}
		if err != nil && k < len(piece) {
			piece = piece[:k]
		}
		if err := db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("output"))
			if err != nil {
				return err
			}
			return bucket.Put(fmt.Appendf(nil, "%016x", n), piece)
		}); err != nil {
			return 0, err
		}
		n += k
	}
}

func sealRound(of func(sealed) (float64, float64)) func(*bench) (float64, float64, error) {
	return func(b *bench) (float64, float64, error) {
		s, err := b.seal()
		ours, theirs := of(s)
		return ours, theirs, err
	}
}

// dumpRound compares dump with a loop that decodes and encodes its lines;
// restoreRound does so with restore.
func dumpRound(b *bench) (float64, float64, error) {
	file, err := b.dump()
	if err != nil {
		return 0, 0, err
	}
	db := filepath.Join(b.home, "restored", "tasks.db")
	if _, err := os.Stat(db); err != nil {
		if _, err := b.output(b.cctask, "restore", "--db", db, file); err != nil {
			return 0, 0, err
		}
	}
	ours, err := b.timed(b.cctask, "dump", "--db", db, "-o", filepath.Join(b.home, "again.jsonl"))
	if err != nil {
		return 0, 0, err
	}
	theirs, err := loop(file, filepath.Join(b.home, "again.jsonl"))
	return ours / 1000, theirs, err
}

func restoreRound(b *bench) (float64, float64, error) {
	file, err := b.dump()
	if err != nil {
		return 0, 0, err
	}
	dir := filepath.Join(b.home, "restored-anew")
	defer os.RemoveAll(dir)
	ours, err := b.timed(b.cctask, "restore", "--db", filepath.Join(dir, "tasks.db"), file)
	if err != nil {
		return 0, 0, err
	}
	theirs, err := loop(file, filepath.Join(b.home, "again.jsonl"))
	return ours / 1000, theirs, err
}

// loop reads each line of a file into a value and writes the value as a line.
func loop(from, to string) (seconds float64, err error) {
	begin := time.Now()
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	r, w := bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)
	e := json.NewEncoder(w)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) == 0 {
			return time.Since(begin).Seconds(), w.Flush()
		}
		var v any
		if err == nil {
			err = json.Unmarshal(line, &v)
		}
		if err == nil {
			err = e.Encode(v)
		}
		if err != nil {
			return 0, err
		}
	}
}

// dump is a file of many small tasks, made of the dump of one: each has its own
// id and place, all else is the same.
func (b *bench) dump() (string, error) {
	path := filepath.Join(b.home, "tasks.jsonl")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	talk := strings.Replace(stubScript, "A stub answers.\"}]", strings.Repeat("A stub answers at some length. ", 55)+"\"}]", 1)
	if err := os.WriteFile(filepath.Join(b.home, "narrator"), []byte(talk), 0o755); err != nil {
		return "", err
	}
	id, err := b.output(b.cctask, "start", "--claude", filepath.Join(b.home, "narrator"), "A trivial task.")
	if err == nil {
		_, err = b.output(b.cctask, "wait", id)
	}
	if err != nil {
		return "", err
	}
	one, err := b.output(b.cctask, "dump", id)
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(one, "\n")
	head, body, end := lines[0], strings.Join(lines[1:len(lines)-1], ""), lines[len(lines)-1]
	var last struct{ Bytes int64 }
	if err := json.Unmarshal([]byte(end), &last); err != nil {
		return "", err
	}
	_, seq, _ := strings.Cut(body, `"seq":`)
	seq = `"seq":` + seq[:strings.IndexByte(seq, ',')+1]
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString(head) // Flush repeats its error
	for i := range dumped {
		own := bytes.ReplaceAll([]byte(body), []byte(id), fmt.Appendf(nil, "%s%016d", id[:10], i))
		_, _ = w.Write(bytes.Replace(own, []byte(seq), fmt.Appendf(nil, `"seq":%d,`, i+1), 1))
	}
	fmt.Fprintf(w, `{"type":"end","tasks":%d,"bytes":%d}`+"\n", dumped, dumped*last.Bytes)
	if err := w.Flush(); err != nil {
		return "", err
	}
	return path, f.Close()
}
