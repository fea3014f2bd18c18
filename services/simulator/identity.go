package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

const (
	certLife = 10 * 365 * 24 * time.Hour
	skew     = time.Hour
)

// identity loads the vCenter's key and certificate, or makes them once: the
// thumbprint in a Site document must hold over restarts.
func identity(c Config) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(c.CAFile(), c.keyFile())
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeIdentity(c); err == nil {
			cert, err = tls.LoadX509KeyPair(c.CAFile(), c.keyFile())
		}
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate in %s: %w", c.Dir, err)
	}
	fingerprint := []byte(Thumbprint(cert.Certificate[0]) + "\n")
	if err := os.WriteFile(c.ThumbprintFile(), fingerprint, 0o600); err != nil {
		return tls.Certificate{}, fmt.Errorf("write the thumbprint: %w", err)
	}
	return cert, nil
}

// Thumbprint is the SHA-256 fingerprint of a DER certificate as vSphere
// writes it.
func Thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

func makeIdentity(c Config) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	// It signs itself, so that one file is both the certificate and the CA
	// bundle that trusts it.
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "simulated vCenter"},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(certLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: a certificate without its key would never be replaced.
	if err := writePEM(c.keyFile(), "PRIVATE KEY", private); err != nil {
		return err
	}
	return writePEM(c.CAFile(), "CERTIFICATE", der)
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
