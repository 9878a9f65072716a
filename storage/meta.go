package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// What of bbolt's format (https://github.com/etcd-io/bbolt/blob/main/internal/common)
// is read here: the meta pages, which tell a commit of another process from our own
// and how long a copy is, and the pages that bbolt believes when it opens a file.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader   = 16 // id, flags, number of elements, number of pages that follow
	pageElement  = 16
	metaSize     = 64
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	noFreelist   = ^uint64(0)
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

// believable looks at a file before bbolt maps it: that it is not cut off, and the
// pages of the buckets and that of the free list, by whose numbers bbolt would
// allocate memory and write. Damage anywhere else is an error of the call that meets
// it (guard), and what Check is for.
func believable(r io.ReaderAt, size int64) error {
	m, err := readMeta(r)
	if err != nil {
		return err
	}
	// The first comparison keeps the product below from overflowing.
	if m.pages > uint64(size) || int64(m.pages)*m.pageSize > size || size < 2*m.pageSize {
		return cutOff(size, m)
	}
	tree := []uint64{m.root}
	for i := 0; i < len(tree); i++ {
		below, err := m.elements(r, tree[i])
		if tree = append(tree, below...); err == nil && len(tree) > maxRoot {
			err = fmt.Errorf("page %d: the tree of the buckets has more than %d pages", m.root, maxRoot)
		}
		if err != nil {
			return err
		}
	}
	if m.freelist == noFreelist {
		return nil
	}
	flags, count, page, err := m.page(r, m.freelist)
	if err == nil && count == 0xFFFF { // more than fit into the header: the first element is their number
		count = native.Uint64(page[pageHeader:]) + 1
	}
	if err == nil && (flags != flagFreelist || count > uint64(len(page)-pageHeader)/8) {
		err = fmt.Errorf("page %d: not a free list", m.freelist)
	}
	return err
}

// bucketHeader is the size of a bucket's root and sequence, with which its value begins.
const bucketHeader = 16

// maxRoot bounds the pages of the tree of the buckets, which are few. One that leads
// back to itself has no end: bbolt would look for a bucket until its stack is full,
// and nothing catches that.
const maxRoot = 64

// elements looks where the elements of a page point: at keys and values in it. It gives
// the pages below a branch.
func (m boltMeta) elements(r io.ReaderAt, id uint64) (below []uint64, err error) {
	flags, count, page, err := m.page(r, id)
	if err == nil && flags != flagLeaf && flags != flagBranch {
		err = fmt.Errorf("page %d: holds no buckets", id)
	}
	if err == nil && pageHeader+count*pageElement > uint64(len(page)) {
		err = fmt.Errorf("page %d: more elements than fit", id)
	}
	for at := uint64(pageHeader); err == nil && count > 0; count, at = count-1, at+pageElement {
		e := page[at:]
		start, length := uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])) // a branch: of the key; then its page
		if flags == flagLeaf {                                                  // flags, position, lengths of key and value
			start, length = uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:]))+uint64(native.Uint32(e[12:]))
		} else {
			below = append(below, native.Uint64(e[8:]))
		}
		switch {
		case at+start+length > uint64(len(page)):
			err = fmt.Errorf("page %d: an element points outside", id)
		// bbolt reads the header of a bucket without a look at its length.
		case flags == flagLeaf && native.Uint32(e[12:]) < bucketHeader:
			err = fmt.Errorf("page %d: a bucket without its header", id)
		}
	}
	return below, err
}

func cutOff(size int64, m boltMeta) error {
	return fmt.Errorf("the file has %d bytes, its %d pages need more", size, m.pages)
}

// page reads a page with those that follow it as a part of it.
func (m boltMeta) page(r io.ReaderAt, id uint64) (flags uint16, count uint64, page []byte, err error) {
	if id < 2 || id >= m.pages {
		return 0, 0, nil, fmt.Errorf("page %d: out of range", id)
	}
	head := make([]byte, pageHeader)
	if _, err := r.ReadAt(head, int64(id)*m.pageSize); err != nil {
		return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
	}
	more := uint64(native.Uint32(head[12:]))
	if got := native.Uint64(head); got != id || id+more >= m.pages {
		return 0, 0, nil, fmt.Errorf("page %d: calls itself %d with %d more", id, got, more)
	}
	page = make([]byte, int64(more+1)*m.pageSize)
	if _, err := r.ReadAt(page, int64(id)*m.pageSize); err != nil {
		return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
	}
	return native.Uint16(head[8:]), uint64(native.Uint16(head[10:])), page, nil
}

// lengths looks whether all pages end inside the file. bbolt's check keeps a note of
// each page that follows as a part of one, and the header of a damaged page may tell
// of four thousand millions of them.
func (m boltMeta) lengths(r io.ReaderAt) error {
	head := make([]byte, pageHeader)
	for id := uint64(2); id < m.pages; id++ {
		if _, err := r.ReadAt(head, int64(id)*m.pageSize); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		// Inside a longer one there is no header.
		if more := uint64(native.Uint32(head[12:])); native.Uint64(head) == id && id+more >= m.pages {
			return fmt.Errorf("page %d: %d more belong to it, the file has %d", id, more, m.pages)
		}
	}
	return nil
}
