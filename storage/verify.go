package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt panics on a damaged file. guard makes errors of its panics and faults,
// but for two goroutines of bbolt's own where nobody can recover: the one that
// looks for free pages in a file whose free list was not written, and that of
// its Check. So before these the whole structure is verified here by plain
// reads: the meta pages, the free list, and of every other page its header and
// whether its elements lie inside. That keys are in order is bbolt's to tell.
//
// Any other Open reads the tops of the trees only. That finds what happens to
// files: cut off, empty, something else, newer. Damage further down is an error
// of the call that meets it, and what Check is for. Not covered: a branch that
// was changed to point at one above it, which is an endless recursion.

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader   = 16
	pageElement  = 16
	metaSize     = 64
	bucketHeader = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	leafBucket   = 0x01

	noFreelist = ^uint64(0)
	maxDepth   = 64
)

var native = binary.NativeEndian

// boltMeta is what a meta page says about one committed state of the file.
type boltMeta struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // ids from here on are not in use
	txid     uint64
}

func parseMeta(page []byte) (boltMeta, bool) {
	b := page[pageHeader : pageHeader+metaSize]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	m := boltMeta{
		pageSize: int64(native.Uint32(b[8:])), root: native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}
	ok := native.Uint32(b) == boltMagic && native.Uint32(b[4:]) == boltVersion &&
		native.Uint64(b[56:]) == sum.Sum64() && m.pageSize >= 1024
	return m, ok
}

// readMeta returns the newest valid meta page. The second one lies at the page
// size, which only a valid first one tells; else the sizes are tried.
func readMeta(r io.ReaderAt) (boltMeta, error) {
	buf := make([]byte, pageHeader+metaSize)
	at := func(off int64) (boltMeta, bool) {
		if _, err := r.ReadAt(buf, off); err != nil {
			return boltMeta{}, false
		}
		return parseMeta(buf)
	}
	first, ok := at(0)
	if ok {
		if second, ok := at(first.pageSize); ok && second.txid > first.txid {
			return second, nil
		}
		return first, nil
	}
	for size := int64(1024); size <= 1024<<14; size *= 2 {
		if second, ok := at(size); ok && second.pageSize == size {
			return second, nil
		}
	}
	return boltMeta{}, errors.New("neither meta page is valid")
}

// notListed is the number of free pages of a file that has no list of them.
const notListed = -1

// verify looks at a bbolt file of the given size: at the free list and the tops
// of the trees, or, if deep, at every page. It tells how many pages are free.
func verify(r io.ReaderAt, size int64, deep bool) (free int64, err error) {
	m, err := readMeta(r)
	if err != nil {
		return 0, err
	}
	// The first comparison keeps the product below from overflowing.
	if m.pages > uint64(size) || int64(m.pages)*m.pageSize > size || size < 2*m.pageSize {
		return 0, cutOff(size, m)
	}
	w := &walker{r: r, meta: m, deep: deep, seen: make([]uint64, m.pages/64+1)}
	free = notListed
	if m.freelist != noFreelist {
		if free, err = w.freelist(m.freelist); err != nil {
			return 0, err
		}
	}
	return free, w.tree(m.root, 0)
}

func cutOff(size int64, m boltMeta) error {
	return fmt.Errorf("the file has %d bytes, its %d pages need more", size, m.pages)
}

type walker struct {
	r    io.ReaderAt
	meta boltMeta
	deep bool
	in   int                  // buckets around the page
	seen []uint64             // a bit for each page
	bufs [maxDepth + 1][]byte // one page for each level: the levels above go on
}

// boltPage is one page with its overflow, or the page inside an inline bucket.
type boltPage struct {
	id     uint64
	flags  uint16
	count  int64
	size   int64
	head   []byte // its first bytes
	r      io.ReaderAt
	offset int64
}

// load reads the head of a page and claims it and its overflow.
func (w *walker) load(id uint64, depth int) (*boltPage, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("page %d: the tree is too deep", id)
	}
	if id >= w.meta.pages {
		return nil, fmt.Errorf("page %d: out of range", id)
	}
	if w.bufs[depth] == nil {
		w.bufs[depth] = make([]byte, w.meta.pageSize)
	}
	head, offset := w.bufs[depth], int64(id)*w.meta.pageSize
	if _, err := w.r.ReadAt(head, offset); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	overflow := uint64(native.Uint32(head[12:]))
	if got := native.Uint64(head); got != id || id+overflow >= w.meta.pages {
		return nil, fmt.Errorf("page %d: calls itself %d with %d more", id, got, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if err := w.claim(i); err != nil {
			return nil, err
		}
	}
	return &boltPage{
		id: id, flags: native.Uint16(head[8:]), count: int64(native.Uint16(head[10:])),
		size: int64(overflow+1) * w.meta.pageSize, head: head, r: w.r, offset: offset,
	}, nil
}

func (w *walker) claim(id uint64) error {
	if id < 2 || id >= w.meta.pages {
		return fmt.Errorf("page %d: out of range", id)
	}
	if w.seen[id/64]&(1<<(id%64)) != 0 {
		return fmt.Errorf("page %d: used twice", id)
	}
	w.seen[id/64] |= 1 << (id % 64)
	return nil
}

// bytes gives a part of the page, if it lies inside.
func (p *boltPage) bytes(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n > p.size {
		return nil, fmt.Errorf("page %d: an element points outside", p.id)
	}
	if off+n <= int64(len(p.head)) {
		return p.head[off : off+n], nil
	}
	buf := make([]byte, n)
	if _, err := p.r.ReadAt(buf, p.offset+off); err != nil {
		return nil, fmt.Errorf("page %d: %w", p.id, err)
	}
	return buf, nil
}

// tree walks a page and those below it.
func (w *walker) tree(id uint64, depth int) error {
	p, err := w.load(id, depth)
	if err != nil {
		return err
	}
	if p.flags != flagBranch && p.flags != flagLeaf || p.flags == flagBranch && p.count == 0 {
		return fmt.Errorf("page %d: type %#x with %d elements", id, p.flags, p.count)
	}
	return w.elements(p, depth)
}

// elements looks where the elements of a page point: at a key and a value
// inside, and perhaps at another page.
func (w *walker) elements(p *boltPage, depth int) error {
	for i := range p.count {
		at := pageHeader + i*pageElement
		e, err := p.bytes(at, pageElement)
		if err != nil {
			return err
		}
		// A leaf's element: flags, position, sizes of key and value.
		flags, key, size, value := native.Uint32(e), native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		child := uint64(0)
		if p.flags == flagBranch { // position, size of the key, page
			flags, key, size, value, child = 0, flags, key, 0, native.Uint64(e[8:])
		}
		start := at + int64(key) + int64(size)
		if size == 0 || start+int64(value) > p.size {
			return fmt.Errorf("page %d: element %d points outside", p.id, i)
		}
		switch {
		case flags&leafBucket != 0:
			err = w.bucket(p, start, int64(value), depth)
		case p.flags == flagBranch && (w.deep || w.in == 0):
			err = w.tree(child, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a bucket inside a leaf: a root page, or a whole page inline.
func (w *walker) bucket(p *boltPage, off, size int64, depth int) error {
	v, err := p.bytes(off, size)
	if err != nil {
		return err
	}
	if len(v) < bucketHeader {
		return fmt.Errorf("page %d: a short bucket", p.id)
	}
	w.in++
	defer func() { w.in-- }()
	if root := native.Uint64(v); root != 0 {
		return w.tree(root, depth+1)
	}
	v = v[bucketHeader:]
	if len(v) < pageHeader || native.Uint16(v[8:]) != flagLeaf || w.in > 1 {
		return fmt.Errorf("page %d: a bad inline bucket", p.id)
	}
	return w.elements(&boltPage{id: p.id, flags: flagLeaf, count: int64(native.Uint16(v[10:])), size: int64(len(v)), head: v}, depth)
}

// freelist claims the pages on the list: one of them that is in use as well
// would be written over.
func (w *walker) freelist(id uint64) (int64, error) {
	p, err := w.load(id, 0)
	if err != nil {
		return 0, err
	}
	if p.flags != flagFreelist {
		return 0, fmt.Errorf("page %d: not a free list", id)
	}
	off, count := int64(pageHeader), p.count
	if count == 0xFFFF { // more than fit into the header: the first element is their number
		n, err := p.bytes(off, 8)
		if err != nil {
			return 0, err
		}
		if off, count = off+8, int64(native.Uint64(n)); count < 0 || count > p.size {
			return 0, fmt.Errorf("page %d: a free list of %d pages", id, count)
		}
	}
	ids, err := p.bytes(off, count*8)
	if err != nil {
		return 0, err
	}
	for ; len(ids) > 0; ids = ids[8:] {
		if err := w.claim(native.Uint64(ids)); err != nil {
			return 0, fmt.Errorf("free list: %w", err)
		}
	}
	return count, nil
}
