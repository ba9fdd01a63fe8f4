package connections

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/10ex/flows/models"
)

// What is sealed of a connection.
const (
	sealedSecrets = "secrets"
	sealedToken   = "token"
	sealedPending = "pending"
)

// owner names, for the seal, what something belongs to: one part of one connection
// with just this config, but for how much it may be used.
func owner(row *models.Connection, part string) ([]string, error) {
	config, err := canonical(withoutLimits(row.Config))
	if err != nil {
		return nil, fmt.Errorf("config of connection %s: %w", row.ID, err)
	}
	sum := sha256.Sum256(config)
	return []string{string(row.WorkspaceID), string(row.ID), row.Connector, part, hex.EncodeToString(sum[:])}, nil
}

// canonical writes JSON in the one way in which equal values are equal texts.
func canonical(raw json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func sameJSON(a, b json.RawMessage) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// seal seals a value for a part of the connection as its config is now.
func (s *Service) seal(row *models.Connection, part string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s of connection %s: %w", part, row.ID, err)
	}
	of, err := owner(row, part)
	if err != nil {
		return nil, err
	}
	return s.deps.Seal.Seal(plain, of...), nil
}

// open reads into v what was sealed.
func (s *Service) open(row *models.Connection, part string, sealed []byte, v any) error {
	of, err := owner(row, part)
	if err != nil {
		return err
	}
	plain, err := s.deps.Seal.Open(sealed, of...)
	if err != nil {
		return fmt.Errorf("%s of connection %s: %w", part, row.ID, err)
	}
	return json.Unmarshal(plain, v)
}

// sealSecrets puts secrets in place of those a connection has.
func (s *Service) sealSecrets(row *models.Connection, secrets map[string]string) (err error) {
	row.Secrets, row.SecretNames = nil, []string{}
	if len(secrets) == 0 {
		return nil
	}
	for name := range secrets {
		row.SecretNames = append(row.SecretNames, name)
	}
	slices.Sort(row.SecretNames)
	row.Secrets, err = s.seal(row, sealedSecrets, secrets)
	return err
}
