// Package imagetest makes keys and signatures for tests.
package imagetest

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is a signing key with its public file.
type Key struct {
	entity      *openpgp.Entity
	Fingerprint string
	// Armored and Binary are the two forms of the public key's file.
	Armored []byte
	Binary  []byte
}

// NewKey makes a key that is valid for a while from made on; zero is for
// ever.
func NewKey(name string, made time.Time, valid time.Duration) (*Key, error) {
	entity, err := openpgp.NewEntity(name, "test", name+"@example.invalid", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256,
		Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(valid.Seconds()),
	})
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	k := &Key{entity: entity, Fingerprint: fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)}
	var public, text bytes.Buffer
	if err := entity.Serialize(&public); err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	k.Binary = public.Bytes()
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	// Writing into a buffer does not fail.
	_, _ = w.Write(k.Binary)
	_ = w.Close()
	k.Armored = text.Bytes()
	return k, nil
}

// Sign makes a detached signature.
func (k *Key) Sign(body []byte, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	err := openpgp.DetachSign(&out, k.entity, bytes.NewReader(body), &packet.Config{DefaultHash: crypto.SHA256, Time: func() time.Time { return at }})
	return out.Bytes(), err
}

// ID is the key's number in hex, as signatures name it.
func (k *Key) ID() string { return hex.EncodeToString(k.entity.PrimaryKey.Fingerprint[12:]) }
