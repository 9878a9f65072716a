package storage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"unicode/utf8"

	"cctask/engine/task"
	"cctask/internal/sys"
)

const keySize = 32

// keyring encrypts environments under a key that lies beside the database, so
// that a copy of the database holds no secret, not even in its freed pages.
type keyring struct {
	path string
	mu   sync.Mutex
	aead cipher.AEAD // nil until the key was needed
}

func (k *keyring) seal(id task.ID, env []string) ([]byte, error) {
	aead, err := k.load(true)
	if err != nil {
		return nil, err
	}
	plain, err := encodeEnv(env)
	if err != nil {
		return nil, fmt.Errorf("encode the environment: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, plain, []byte(id)), nil
}

func (k *keyring) open(id task.ID, sealed []byte) ([]string, error) {
	aead, err := k.load(false)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("the record is too short")
	}
	nonce, sealed := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, sealed, []byte(id))
	if err != nil {
		return nil, fmt.Errorf("%s does not fit: %w", k.path, err)
	}
	env, err := decodeEnv(plain)
	if err != nil {
		return nil, fmt.Errorf("decode the environment: %w", err)
	}
	return env, nil
}

// rawEnv stands before an environment whose entries are bytes, and not the text
// that JSON strings are: a variable may hold any byte but NUL.
const rawEnv = 'b'

func encodeEnv(env []string) ([]byte, error) {
	raw := make([][]byte, len(env))
	text := true
	for i, kv := range env {
		raw[i], text = []byte(kv), text && utf8.ValidString(kv)
	}
	if text {
		return json.Marshal(env)
	}
	plain, err := json.Marshal(raw)
	return append([]byte{rawEnv}, plain...), err
}

func decodeEnv(plain []byte) (env []string, err error) {
	if !bytes.HasPrefix(plain, []byte{rawEnv}) {
		err = json.Unmarshal(plain, &env)
		return env, err
	}
	var raw [][]byte
	err = json.Unmarshal(plain[1:], &raw)
	for _, kv := range raw {
		env = append(env, string(kv))
	}
	return env, err
}

// load reads the key once; create makes a missing one.
func (k *keyring) load(create bool) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aead != nil {
		return k.aead, nil
	}
	key, err := os.ReadFile(k.path)
	if create && errors.Is(err, fs.ErrNotExist) {
		key, err = k.create()
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of the environments: %w", err)
	}
	if len(key) != keySize {
		return nil, task.Errorf(task.CodeCorrupt, "Remove it: a new one is made. Tasks that still wait must then be started again.", "%s has %d bytes, not %d", k.path, len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	k.aead, err = cipher.NewGCM(block)
	return k.aead, err
}

// create makes a key durable under its name before anything is encrypted with
// it: a power cut may lose neither the key nor half of it. The database's lock
// keeps a second creator away.
func (k *keyring) create() ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key, sys.WriteFile(k.path, func(w io.Writer) error {
		_, err := w.Write(key)
		return err
	})
}
