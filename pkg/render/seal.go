package render

import (
	"fmt"

	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/proto"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Seal encrypts a config to the public curve key (xkey) of a site. The
// sender's key is made for this message alone, so nothing that the renderer
// keeps can open it again.
func Seal(c *Config, siteKey string) ([]byte, error) {
	text, err := proto.Marshal(&yardmasterv1.NodeConfig{
		Ignition: c.Ignition, GuestinfoData: c.Encoded, GuestinfoEncoding: Encoding, NetworkKargs: c.NetworkKargs,
		GuestinfoVariables: c.Variables,
	})
	if err != nil {
		return nil, fmt.Errorf("seal the config: %w", err)
	}
	sender, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("seal the config: %w", err)
	}
	defer sender.Wipe()
	public, err := sender.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("seal the config: %w", err)
	}
	box, err := sender.Seal(text, siteKey)
	if err != nil {
		return nil, fmt.Errorf("seal the config to key %s: %w", siteKey, err)
	}
	return proto.Marshal(&yardmasterv1.SealedConfig{Sender: public, Box: box})
}

// Open decrypts a config with the site's private curve key and checks that
// it is the one of the digest.
func Open(sealed []byte, site nkeys.KeyPair, digest string) (*yardmasterv1.NodeConfig, error) {
	var envelope yardmasterv1.SealedConfig
	if err := proto.Unmarshal(sealed, &envelope); err != nil {
		return nil, fmt.Errorf("open config %s: %w", digest, err)
	}
	text, err := site.Open(envelope.GetBox(), envelope.GetSender())
	if err != nil {
		return nil, fmt.Errorf("open config %s: %w", digest, err)
	}
	var cfg yardmasterv1.NodeConfig
	if err := proto.Unmarshal(text, &cfg); err != nil {
		return nil, fmt.Errorf("open config %s: %w", digest, err)
	}
	if got := digestOf(cfg.GetIgnition(), cfg.GetGuestinfoVariables()); got != digest {
		return nil, fmt.Errorf("open config %s: its content has digest %s", digest, got)
	}
	return &cfg, nil
}
