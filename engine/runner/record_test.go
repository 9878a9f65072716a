package runner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func newStatus(t *testing.T) (string, *statusFile) {
	t.Helper()
	name := filepath.Join(t.TempDir(), statusName)
	if err := createStatus(name); err != nil {
		t.Fatal(err)
	}
	s, err := openStatus(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.f.Close() })
	return name, s
}

func wantRecord(t *testing.T, name string, want Record) {
	t.Helper()
	got, err := readRecord(name)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v\nwant %+v", got, err, want)
	}
}

func TestRecordGoesRound(t *testing.T) {
	t.Parallel()
	name, s := newStatus(t)
	wantRecord(t, name, Record{State: StatePrepared, Boot: bootID()})
	info, err := os.Stat(name)
	if err != nil || info.Size() != 2*slotSize {
		t.Fatalf("preallocated %v, %v", info.Size(), err)
	}
	now := time.Now().UTC().Round(0)
	for i, want := range []Record{
		{State: StateIntent, RunnerPID: 7, RunnerStart: 1 << 60},
		{State: StateRunning, ClaudePID: 8, StartedAt: now},
		{State: StateEnded, Boot: "x", EndedAt: now, Exited: true, ExitCode: 137, Signal: "SIGKILL", Stopped: StopDeadline, Leftovers: 3, StdoutBytes: 1 << 40},
	} {
		if err := s.put(want); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		wantRecord(t, name, want)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 2*slotSize {
		t.Errorf("the file has grown: %v, %v", info.Size(), err)
	}
	again, err := openStatus(name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.f.Close()
	if err := again.put(Record{State: StateSpawnFailed}); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, name, Record{State: StateSpawnFailed})
}

// However much of an overwrite reaches the disk, the record before it or the
// new one is read.
func TestTornRecord(t *testing.T) {
	t.Parallel()
	name, s := newStatus(t)
	old := Record{State: StateRunning, ClaudePID: 8, RunnerPID: 9}
	for _, r := range []Record{{State: StateIntent, SpawnPath: strings.Repeat("x", 99)}, old} {
		if err := s.put(r); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	final := Record{State: StateEnded, Exited: true, ExitCode: 3}
	if err := s.put(final); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	olds, finals := 0, 0
	for n := 0; n <= slotSize; n += 7 {
		for _, head := range []bool{true, false} { // which part arrived
			torn := append([]byte(nil), before...)
			// seq 1 is prepared, 2 the intent, 3 the old one, 4 the final one.
			if head {
				copy(torn[:n], after[:n])
			} else {
				copy(torn[n:slotSize], after[n:slotSize])
			}
			if err := os.WriteFile(name, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			switch got, err := readRecord(name); {
			case err == nil && got == old:
				olds++
			case err == nil && got == final:
				finals++
			default:
				t.Fatalf("torn at %d: %+v, %v", n, got, err)
			}
		}
	}
	if olds == 0 || finals == 0 {
		t.Errorf("%d times the old record, %d times the new one", olds, finals)
	}
}

func TestNoRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, statusName)
	wantRecord(t, name, Record{State: StateNone})
	for _, content := range []string{"", "x", strings.Repeat("\x00", 2*slotSize), strings.Repeat("\xff", 3*slotSize), slotMagic + strings.Repeat("\xff", slotSize)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wantRecord(t, name, Record{State: StateNone})
		if _, err := openStatus(name); err == nil {
			t.Errorf("a damaged record was opened for writing: %.10q", content)
		}
	}
	if _, err := openStatus(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestLongSpawnErrorFits(t *testing.T) {
	t.Parallel()
	name, s := newStatus(t)
	r := Record{State: StateSpawnFailed, SpawnOp: "chdir", SpawnPath: strings.Repeat("\x01", 5000), SpawnError: strings.Repeat("é\x02", 5000), StartedAt: time.Now()}
	if err := s.put(r); err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(name)
	if err != nil || !strings.HasPrefix(r.SpawnPath, got.SpawnPath) || !strings.HasPrefix(r.SpawnError, got.SpawnError) || len(got.SpawnError) < 200 {
		t.Errorf("read %+v, %v", got, err)
	}
}

// What was written before the host started anew may be torn or stale, and proves
// only that claude may have run; but for an end that was kept.
func TestRecordOfAnotherBoot(t *testing.T) {
	t.Parallel()
	ended := Record{State: StateEnded, Exited: true, StdoutBytes: 7, Boot: "another"}
	for _, rec := range []Record{{State: StatePrepared, Boot: "another"}, {State: StateRunning, RunnerPID: 1, ClaudePID: 2, Boot: "another"}, ended} {
		r := runWith(t, rec)
		if got, err := r.Record(); err != nil || got != (Record{State: StateIntent, Boot: "another"}) {
			t.Errorf("of %+v is read %+v, %v", rec, got, err)
		}
		if err := r.Keep(); err != nil { // what is not believed must not become safe
			t.Error(err)
		}
		wantRecord(t, r.path(statusName), rec)
	}
	kept := ended
	kept.Boot = bootID()
	r := runWith(t, kept)
	if err := r.Keep(); err != nil {
		t.Fatal(err)
	}
	kept.Boot = ""
	wantRecord(t, r.path(statusName), kept)
	if got, err := r.Record(); err != nil || got != kept {
		t.Errorf("of a kept end is read %+v, %v", got, err)
	}
}

// runWith is a run directory with a record.
func runWith(t *testing.T, rec Record) *Run {
	t.Helper()
	r, err := (&Launcher{}).Prepare(filepath.Join(t.TempDir(), "01ARZ3NDEKTSV4RRFFQ69G5FAV.1"), Launch{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.dropLock()
	s, err := openStatus(r.path(statusName))
	if err != nil {
		t.Fatal(err)
	}
	defer s.f.Close()
	if err := s.put(rec); err != nil {
		t.Fatal(err)
	}
	return r
}
