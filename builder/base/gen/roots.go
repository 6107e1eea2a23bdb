package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsPEM returns Mozilla's CA roots, each under a comment with its name.
//
// Roots with a constraint are left out. Mozilla distrusts what these sign after
// some date, which x/crypto expresses as a Go function; a PEM file has no place
// for it, so in there such a root would be trusted for ever.
func rootsPEM() ([]byte, error) {
	var certs []*x509.Certificate
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("parsing root %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	slices.SortFunc(certs, func(a, b *x509.Certificate) int {
		return cmp.Or(cmp.Compare(title(a), title(b)), bytes.Compare(a.Raw, b.Raw))
	})
	var b bytes.Buffer
	for _, cert := range certs {
		fmt.Fprintf(&b, "# %s\n", title(cert))
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", title(cert), err)
		}
	}
	return b.Bytes(), nil
}

// title names a root by its CN, or where an old one has none by what it has.
func title(cert *x509.Certificate) string {
	names := slices.Concat([]string{cert.Subject.CommonName}, cert.Subject.OrganizationalUnit, cert.Subject.Organization)
	return cmp.Or(names...)
}
