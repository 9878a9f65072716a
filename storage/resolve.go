package storage

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

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

// Resolve finds a task by its id in any case, its name (the newest that has
// it), at least four characters from the begin or the end of its id, or `last`,
// the newest task. ErrNotFound, ErrAmbiguous.
func (db *DB) Resolve(ref string) (task.ID, error) {
	return read(db, func(tx *bolt.Tx) (task.ID, error) { return resolve(tx, ref) })
}

func resolve(tx *bolt.Tx, ref string) (task.ID, error) {
	tasks := tx.Bucket(bucketTasks)
	part := strings.ToUpper(ref)
	if len(part) == task.IDLength && tasks.Get([]byte(part)) != nil {
		return task.ID(part), nil
	}
	name := keyName(ref, "")
	if k, _ := lastBefore(tx.Bucket(bucketNames).Cursor(), name, keyName(ref, "\xff")); ref != "" && k != nil {
		return task.ID(k[len(name):]), nil
	}
	if ref == task.NewestRef {
		if k, _ := tasks.Cursor().Last(); k != nil {
			return task.ID(k), nil
		}
	}
	if len(part) < minPart || len(part) > task.IDLength {
		return "", unknown(tx, ref)
	}
	found := withPrefix(tasks, part)
	if len(found) == 0 {
		found = withPrefix(tx.Bucket(bucketSuffixes), backwards(part))
		for i, id := range found {
			found[i] = task.ID(backwards(string(id)))
		}
	}
	switch len(found) {
	case 0:
		return "", unknown(tx, ref)
	case 1:
		return found[0], nil
	}
	return "", ambiguous(tx, ref, found)
}

// ambiguous lists the candidates, those with a name by it too.
func ambiguous(tx *bolt.Tx, ref string, found []task.ID) error {
	var names []string
	for _, id := range found[:min(len(found), maxCandidates)] {
		t, err := getTask(tx, id)
		if err != nil {
			return err
		}
		if t.Spec.Name != "" {
			id += task.ID(" (" + t.Spec.Name + ")")
		}
		names = append(names, string(id))
	}
	if len(found) > maxCandidates {
		names = append(names, "and more")
	}
	return &task.Error{
		Code: task.CodeAmbiguous, Message: fmt.Sprintf("%q fits several tasks: %s", ref, strings.Join(names, ", ")),
		Hint: "Give more characters of the id: those at its end differ the soonest.",
	}
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
			d = min(d, distance(want, other))
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
		if d := min(distance(want, id[:n]), distance(want, id[len(id)-n:])); d < most {
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

// distance is how many characters must be put in, left out or changed to make
// b of a.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		above := row[0]
		row[0] = i + 1
		for j, y := range b {
			d := above
			if x != y {
				d++
			}
			above = row[j+1]
			row[j+1] = min(d, row[j]+1, above+1)
		}
	}
	return row[len(b)]
}
