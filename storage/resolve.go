package storage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/text/unicode/norm"

	"cctask/engine/task"
)

const (
	// minPart is the least of an id that Resolve completes.
	minPart = 4
	// maxCandidates is how many tasks an ambiguous reference's error names.
	maxCandidates = 5
	// maxNearest is how many ids and names the error about an unknown one names.
	maxNearest = 3
	// nearby is how many ids, the newest, and how many names on each side of
	// where the unknown one would stand are looked at for them.
	nearby = 300
)

// Resolve finds what ref fits: a task by its id in any case, else by its name,
// by at least four characters from the begin or the end of its id, or `last`, the
// newest task. Whoever only reads gets the newest of the name, else the one whose
// id begins so, else the one whose id ends so. ErrNotFound.
func (db *DB) Resolve(ref string) (task.Match, error) {
	return read(db, func(tx *bolt.Tx) (task.Match, error) { return resolve(tx, ref) })
}

// resolve takes ref as it is, for a name may have quotes, and else what is in it.
func resolve(tx *bolt.Tx, ref string) (task.Match, error) {
	m, err := resolveBare(tx, ref)
	if bare := task.BareRef(ref); errors.Is(err, task.ErrNotFound) && bare != ref {
		return resolveBare(tx, bare)
	}
	return m, err
}

func resolveBare(tx *bolt.Tx, ref string) (task.Match, error) {
	tasks := tx.Bucket(bucketTasks)
	if id, err := task.ParseID(ref); err == nil {
		// What looks like a whole id never means another task, whatever its name.
		if tasks.Get([]byte(id)) == nil {
			return task.Match{}, unknown(tx, ref)
		}
		return task.Only(id), nil
	}
	found := bearers(tx, ref)
	if id := newestRecorded(tx); ref == task.NewestRef && len(found) == 0 && id != "" {
		return task.Only(id), nil
	}
	m, named := task.Match{Ref: ref}, len(found)
	if named > 0 {
		m.ID = found[0]
	}
	if part := strings.ToUpper(ref); len(part) >= minPart && len(part) <= task.IDLength {
		ends := withPrefix(tx.Bucket(bucketSuffixes), backwards(part))
		for i, id := range ends {
			ends[i] = task.ID(backwards(string(id)))
		}
		for _, list := range [][]task.ID{withPrefix(tasks, part), ends} {
			if len(found) == 0 && len(list) == 1 {
				m.ID = list[0]
			}
			for _, id := range list {
				if !slices.Contains(found, id) {
					found = append(found, id)
				}
			}
		}
	}
	if len(found) == 0 {
		return m, unknown(tx, ref)
	}
	err := describe(tx, &m, found)
	if m.Count > named {
		m.Live = 0 // of a part not all that it fits were looked at
	}
	return m, err
}

// newestRecorded is the task that was recorded last, or, if that is gone, the
// one with the highest id.
func newestRecorded(tx *bolt.Tx) task.ID {
	tasks := tx.Bucket(bucketTasks)
	if k := tx.Bucket(bucketMeta).Get(keyNewest); k != nil && tasks.Get(k) != nil {
		return task.ID(k)
	}
	k, _ := tasks.Cursor().Last()
	return task.ID(k)
}

// bearers are the tasks of a name, the newest first. A name is one however its
// characters are composed: new ones are kept composed, older ones as they came.
func bearers(tx *bolt.Tx, name string) []task.ID {
	found := withName(tx, norm.NFC.String(name))
	if apart := norm.NFD.String(name); !norm.NFC.IsNormalString(apart) {
		found = append(found, withName(tx, apart)...)
		slices.SortFunc(found, func(a, b task.ID) int { return cmp.Compare(b, a) })
	}
	return found
}

func withName(tx *bolt.Tx, name string) (found []task.ID) {
	c, prefix := tx.Bucket(bucketNames).Cursor(), keyName(name, "")
	for k, _ := lastBefore(c, prefix, keyName(name, "\xff")); name != "" && bytes.HasPrefix(k, prefix); k, _ = c.Prev() {
		found = append(found, task.ID(k[len(prefix):]))
	}
	return found
}

// describe counts what was found and tells of the first of them, those that live
// before the others. Only these records are read: a name may have thousands.
func describe(tx *bolt.Tx, m *task.Match, found []task.ID) error {
	m.Count = len(found)
	if m.Count == 1 {
		return nil
	}
	var live, ended []task.ID
	for _, id := range found {
		if slices.ContainsFunc(task.Statuses, func(s task.Status) bool {
			return !s.Ended() && tx.Bucket(bucketByStatus).Get(keyByStatus(s, id)) != nil
		}) {
			live = append(live, id)
		} else if len(ended) < maxCandidates {
			ended = append(ended, id)
		}
	}
	m.Live = len(live)
	all := append(live, ended...)
	for _, id := range all[:min(len(all), maxCandidates)] {
		t, err := getTask(tx, id)
		if err != nil {
			return err
		}
		m.Tasks = append(m.Tasks, task.Candidate{ID: id, Name: t.Spec.Name, Status: t.Status, CreatedAt: t.CreatedAt})
	}
	return nil
}

// withPrefix gives one more than the candidates that are named, the last ones.
func withPrefix(index *bolt.Bucket, part string) (found []task.ID) {
	c := index.Cursor()
	for k, _ := lastBefore(c, []byte(part), []byte(part+"\xff")); bytes.HasPrefix(k, []byte(part)) && len(found) <= maxCandidates; k, _ = c.Prev() {
		found = append(found, task.ID(k))
	}
	return found
}

// unknown suggests what may have been meant. The suggestions are part of the
// message: each face has a hint of its own.
func unknown(tx *bolt.Tx, ref string) error {
	err := notFound(ref)
	if len(ref) < minPart {
		err.Message += fmt.Sprintf("; a part of an id has at least %d characters", minPart)
	}
	if near := nearest(tx, ref); len(near) > 0 {
		err.Message += "; nearest: " + strings.Join(near, ", ")
	}
	return err
}

// nearest finds names and ids that differ from ref by few characters, and names
// that begin with it: the nearest first, and of equals the newest id first.
func nearest(tx *bolt.Tx, ref string) (near []string) {
	want := []rune(strings.ToLower(ref))
	if len(want) == 0 || len(want) > task.MaxName {
		return nil
	}
	far := map[string]int{}
	most := 1 + len(want)/4
	for _, name := range namesAround(tx, ref) {
		other := []rune(strings.ToLower(name))
		d := most + 1
		if strings.HasPrefix(string(other), string(want)) {
			d = most
		}
		if diff := len(other) - len(want); -most <= diff && diff <= most {
			d = min(d, task.Distance(want, other))
		}
		if d <= most {
			near, far[name] = append(near, name), d
		}
	}
	c := tx.Bucket(bucketTasks).Cursor()
	k, _ := c.Last()
	for i := 0; i < nearby && k != nil && len(want) >= minPart; i++ {
		id := []rune(strings.ToLower(string(k)))
		n := min(len(want), len(id))
		// Every id of a short part has chance neighbours: one less than a name.
		if d := min(task.Distance(want, id[:n]), task.Distance(want, id[len(id)-n:])); d < most {
			near, far[string(k)] = append(near, string(k)), d
		}
		k, _ = c.Prev()
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(far[a], far[b]) })
	return near[:min(len(near), maxNearest)]
}

// namesAround gives the different names around the place of ref.
func namesAround(tx *bolt.Tx, ref string) (names []string) {
	c := tx.Bucket(bucketNames).Cursor()
	add := func(k []byte) string {
		names = append(names, string(k[:max(0, len(k)-task.IDLength-1)]))
		return names[len(names)-1]
	}
	k, _ := c.Seek([]byte(ref))
	for i := 0; k != nil && i < nearby; i++ {
		k, _ = c.Seek(keyName(add(k), "\xff"))
	}
	k, _ = lastBefore(c, nil, []byte(ref))
	for i := 0; k != nil && i < nearby; i++ {
		k, _ = lastBefore(c, nil, keyName(add(k), ""))
	}
	return names
}
