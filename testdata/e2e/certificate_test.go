//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// makeCertificate makes an authority, whose certificate goes to the file ca,
// and a server certificate for host. It returns the part of a registry's
// configuration that names certificate and key.
func makeCertificate(dir, ca, host string) (string, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	issuer := template(1, "stagectl e2e authority")
	issuer.IsCA, issuer.BasicConstraintsValid = true, true
	issuer.KeyUsage = x509.KeyUsageCertSign
	server := template(2, host)
	server.DNSNames = []string{host}
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		return "", err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, issuer, key.Public(), caKey)
	if err != nil {
		return "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	certFile, keyFile := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls-key.pem")
	return fmt.Sprintf("  tls: {certificate: %q, key: %q}\n", certFile, keyFile), errors.Join(
		writePEM(ca, "CERTIFICATE", caDER),
		writePEM(certFile, "CERTIFICATE", serverDER),
		writePEM(keyFile, "PRIVATE KEY", keyDER),
	)
}

// template is a certificate that is valid around now.
func template(serial int64, commonName string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

// writePEM writes one block to a file that every user may read.
func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}
