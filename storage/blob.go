package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"
)

// pieceSize is the most that one value holds, unpacked.
const pieceSize = 256 << 10

// How a piece is packed: its value's first byte.
const (
	packRaw  = 0
	packZstd = 1
)

const packHeader = 1 + 4

// Both coders are safe for use by several goroutines. Their memory is bounded
// because pieces are.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(pieceSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(4*pieceSize))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	})
)

func pack(data []byte) []byte {
	v := make([]byte, packHeader, packHeader+len(data)/2)
	binary.BigEndian.PutUint32(v[1:], uint32(len(data)))
	v[0] = packZstd
	if v = encoder().EncodeAll(data, v); len(v) < packHeader+len(data) {
		return v
	}
	v = append(v[:packHeader], data...)
	v[0] = packRaw
	return v
}

// packedLen is the length of a piece unpacked.
func packedLen(v []byte) (int64, error) {
	if len(v) < packHeader {
		return 0, errors.New("a piece without a header")
	}
	return int64(binary.BigEndian.Uint32(v[1:])), nil
}

func unpack(v []byte) ([]byte, error) {
	n, err := packedLen(v)
	if err != nil {
		return nil, err
	}
	if n > pieceSize {
		return nil, fmt.Errorf("a piece of %d bytes", n)
	}
	data := make([]byte, 0, n)
	switch v[0] {
	case packRaw:
		data = append(data, v[packHeader:]...)
	case packZstd:
		if data, err = decoder().DecodeAll(v[packHeader:], data); err != nil {
			return nil, fmt.Errorf("unpack a piece: %w", err)
		}
	default:
		return nil, fmt.Errorf("a piece packed in the unknown way %d", v[0])
	}
	if int64(len(data)) != n {
		return nil, fmt.Errorf("a piece of %d bytes that should have %d", len(data), n)
	}
	return data, nil
}

// end is the number of bytes that are stored at the place.
func (p place) end(tx *bolt.Tx) (int64, error) {
	k, v := lastBefore(tx.Bucket(p.bucket).Cursor(), []byte(p.prefix), p.key(-1))
	if k == nil {
		return 0, nil
	}
	n, err := packedLen(v)
	if err == nil && (len(k) != len(p.prefix)+8 || p.offset(k) < 0) {
		err = errors.New("a piece with a bad key")
	}
	if err != nil {
		return 0, err
	}
	return p.offset(k) + n, nil
}

// offset is the one in a key of the place.
func (p place) offset(k []byte) int64 {
	return int64(binary.BigEndian.Uint64(k[len(p.prefix):]))
}

// read gives up to limit bytes from offset on.
func (p place) read(tx *bolt.Tx, offset int64, limit int) ([]byte, error) {
	if offset < 0 || limit <= 0 {
		return nil, nil
	}
	c := tx.Bucket(p.bucket).Cursor()
	// The piece that holds the offset is the last one that begins at it or
	// before it.
	k, v := lastBefore(c, []byte(p.prefix), p.key(offset+1))
	var out []byte
	for ; k != nil && len(k) == len(p.prefix)+8 && string(k[:len(p.prefix)]) == p.prefix; k, v = c.Next() {
		skip := offset + int64(len(out)) - p.offset(k)
		n, err := packedLen(v)
		if err != nil {
			return nil, err
		}
		if skip >= n {
			break
		}
		data, err := unpack(v)
		if err != nil {
			return nil, err
		}
		data = data[skip:]
		if len(out) == 0 && len(data) >= limit {
			return data[:limit:limit], nil
		}
		out = append(out, data[:min(len(data), limit-len(out))]...)
		if len(out) == limit {
			break
		}
	}
	return out, nil
}
