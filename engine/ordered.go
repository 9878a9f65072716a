package engine

// ordered is a set sorted by less, in which to insert, to remove, to find the
// first and to count those before a key cost the logarithm of its size: a treap
// (https://en.wikipedia.org/wiki/Treap) whose nodes know how many lie below. Its
// shape comes from a counter and not from chance, so that a run can be repeated.
type ordered[K any] struct {
	less func(a, b K) bool
	root *orderedNode[K]
	made uint64
}

type orderedNode[K any] struct {
	key         K
	weight      uint64 // no child weighs more
	size        int
	left, right *orderedNode[K]
}

func (n *orderedNode[K]) count() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *orderedNode[K]) sum() *orderedNode[K] {
	n.size = 1 + n.left.count() + n.right.count()
	return n
}

func (o *ordered[K]) insert(key K) {
	o.made++
	// The mix of splitmix64 (https://prng.di.unimi.it/splitmix64.c).
	w := o.made * 0x9e3779b97f4a7c15
	w = (w ^ w>>30) * 0xbf58476d1ce4e5b9
	w = (w ^ w>>27) * 0x94d049bb133111eb
	before, rest := o.split(o.root, key)
	o.root = join(join(before, &orderedNode[K]{key: key, weight: w ^ w>>31, size: 1}), rest)
}

// remove takes key out; it tells whether key was there.
func (o *ordered[K]) remove(key K) bool {
	at := &o.root
	var path []*orderedNode[K]
	for *at != nil && (o.less(key, (*at).key) || o.less((*at).key, key)) {
		path = append(path, *at)
		if o.less(key, (*at).key) {
			at = &(*at).left
		} else {
			at = &(*at).right
		}
	}
	if *at == nil {
		return false
	}
	*at = join((*at).left, (*at).right)
	for _, n := range path {
		n.size--
	}
	return true
}

func (o *ordered[K]) first() (key K, ok bool) {
	n := o.root
	if n == nil {
		return key, false
	}
	for n.left != nil {
		n = n.left
	}
	return n.key, true
}

// rank is the number of keys before key.
func (o *ordered[K]) rank(key K) int {
	before := 0
	for n := o.root; n != nil; {
		if o.less(n.key, key) {
			before += n.left.count() + 1
			n = n.right
		} else {
			n = n.left
		}
	}
	return before
}

// split divides n's tree into what comes before key, and the rest.
func (o *ordered[K]) split(n *orderedNode[K], key K) (before, rest *orderedNode[K]) {
	if n == nil {
		return nil, nil
	}
	if o.less(n.key, key) {
		n.right, rest = o.split(n.right, key)
		return n.sum(), rest
	}
	before, n.left = o.split(n.left, key)
	return before, n.sum()
}

// join makes one tree of two, of which all of a's keys come before all of b's.
func join[K any](a, b *orderedNode[K]) *orderedNode[K] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		a.right = join(a.right, b)
		return a.sum()
	default:
		b.left = join(a, b.left)
		return b.sum()
	}
}
