package runner

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strings"
)

// A slot is a header (magic, sequence number, length, CRC-32C over all that
// follows the magic) and a Record as JSON. Writes alternate between two slots,
// so that a torn one leaves the record before it readable.
const (
	slotSize   = 4096
	slotMagic  = "cct1"
	headerSize = 4 + 8 + 4 + 4
	maxPayload = slotSize - headerSize
	maxSpawn   = 300 // bytes of each spawn text; six times as long at worst, escaped
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// statusFile is the status record, open for writing. One process at a time
// writes: the owner until the fork, the runner from then on.
type statusFile struct {
	f   *os.File
	seq uint64
}

// createStatus preallocates the record by writing it whole, so that later
// writes in place succeed on a full disk.
func createStatus(path string) error {
	f, err := openFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 2*slotSize)); err != nil {
		return err
	}
	s := statusFile{f: f}
	return s.put(Record{State: StatePrepared, Boot: bootID()})
}

func openStatus(path string) (*statusFile, error) {
	f, err := openFile(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	_, seq, err := newest(f)
	if err == nil && seq == 0 {
		err = errors.New("the status record is damaged")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &statusFile{f: f, seq: seq}, nil
}

// put writes a record. It survives the death of this process; what a power loss
// makes of it is not believed (Record.Boot).
func (s *statusFile) put(r Record) error {
	slot, err := encodeSlot(r, s.seq+1)
	if err != nil {
		return err
	}
	if _, err := s.f.WriteAt(slot, int64((s.seq+1)%2)*slotSize); err != nil {
		return fmt.Errorf("write the status record: %w", err)
	}
	s.seq++
	return nil
}

func encodeSlot(r Record, seq uint64) ([]byte, error) {
	r.SpawnPath = cut(r.SpawnPath, maxSpawn)
	r.SpawnError = cut(r.SpawnError, maxSpawn)
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the status record: %w", err)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("the status record has %d bytes", len(payload))
	}
	// The whole slot is written: what an older, longer record left behind the
	// new one would be harmless, but nobody could tell that from damage.
	b := make([]byte, slotSize)
	copy(b, slotMagic)
	binary.BigEndian.PutUint64(b[4:], seq)
	binary.BigEndian.PutUint32(b[12:], uint32(len(payload)))
	copy(b[headerSize:], payload)
	binary.BigEndian.PutUint32(b[16:], slotSum(b, len(payload)))
	return b, nil
}

func slotSum(b []byte, payload int) uint32 {
	sum := crc32.Checksum(b[4:16], castagnoli)
	return crc32.Update(sum, castagnoli, b[headerSize:headerSize+payload])
}

func decodeSlot(b []byte) (r Record, seq uint64, ok bool) {
	if len(b) < slotSize || string(b[:4]) != slotMagic {
		return Record{}, 0, false
	}
	n := binary.BigEndian.Uint32(b[12:])
	if n > maxPayload || binary.BigEndian.Uint32(b[16:]) != slotSum(b, int(n)) {
		return Record{}, 0, false
	}
	if json.Unmarshal(b[headerSize:headerSize+n], &r) != nil {
		return Record{}, 0, false
	}
	return r, binary.BigEndian.Uint64(b[4:]), true
}

// newest returns the valid record with the highest sequence number; State none
// and 0 if no slot is valid.
func newest(f io.ReaderAt) (Record, uint64, error) {
	best, bestSeq := Record{State: StateNone}, uint64(0)
	b := make([]byte, slotSize)
	for i := range int64(2) {
		n, err := f.ReadAt(b, i*slotSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return best, 0, fmt.Errorf("read the status record: %w", err)
		}
		if r, seq, ok := decodeSlot(b[:n]); ok && seq > bestSeq {
			best, bestSeq = r, seq
		}
	}
	return best, bestSeq, nil
}

func readRecord(path string) (Record, error) {
	f, err := openFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{State: StateNone}, nil
	}
	if err != nil {
		return Record{State: StateNone}, fmt.Errorf("read the status record: %w", err)
	}
	defer f.Close()
	r, _, err := newest(f)
	return r, err
}

// cut shortens s to n bytes, and not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
