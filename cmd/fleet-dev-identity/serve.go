package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
)

const (
	adminTokenFile  = "admin.pat"
	operatorKeyFile = "operator-key.json"
)

// description says how to use the provider.
type description struct {
	Issuer          string `json:"issuer"`
	OrganizationID  string `json:"organizationID"`
	ProjectID       string `json:"projectID"`
	DevicePrefix    string `json:"devicePrefix"`
	AdminTokenFile  string `json:"adminTokenFile"`
	OperatorKeyFile string `json:"operatorKeyFile"`
}

// serve runs the provider until ctx ends. What to use it with is printed as soon as
// it answers.
func serve(ctx context.Context, o options, stdout io.Writer) error {
	emulator, err := zitadeltest.Start(zitadeltest.Options{Listen: o.listen, Dir: o.dir, TokenLifetime: o.lifetime})
	if err != nil {
		return fmt.Errorf("cannot serve on %s with the state of %s: %w", o.listen, o.dir, err)
	}
	defer emulator.Close()
	described, err := prepare(ctx, o, emulator)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := described.print(stdout, o.json); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// prepare sets the fleet up, and writes the administrator's token and the
// operator's key.
func prepare(ctx context.Context, o options, emulator *zitadeltest.Emulator) (description, error) {
	described := description{
		Issuer: emulator.Issuer(), OrganizationID: emulator.OrganizationID(), DevicePrefix: string(o.prefix),
		AdminTokenFile: filepath.Join(o.dir, adminTokenFile), OperatorKeyFile: filepath.Join(o.dir, operatorKeyFile),
	}
	if err := writePrivate(described.AdminTokenFile, []byte(emulator.AdminToken())); err != nil {
		return description{}, fmt.Errorf("the administrator's token: %w", err)
	}
	// The operator of another prefix has a key of its own.
	made, err := zitadel.Setup(ctx, zitadel.Admin{AccessToken: emulator.AdminToken()}, zitadel.SetupConfig{
		Issuer: emulator.Issuer(), OrganizationID: emulator.OrganizationID(), Project: o.project, DevicePrefix: o.prefix,
		NewKey: !hasKey(described.OperatorKeyFile, o.prefix.OperatorID()),
	}, zitadel.SetupOptions{})
	if err != nil {
		return description{}, err
	}
	described.ProjectID = made.ProjectID
	if made.Key == nil {
		return described, nil
	}
	key, err := made.Key.Encode()
	if err != nil {
		return description{}, err
	}
	if err := writePrivate(described.OperatorKeyFile, key); err != nil {
		return description{}, fmt.Errorf("the operator's key: %w", err)
	}
	return described, nil
}

// hasKey reports whether a file holds a key of the user.
func hasKey(file, user string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	key, err := zitadel.ParseServiceKey(data)
	return err == nil && key.UserID == user
}

// writePrivate replaces a file that only its owner may read.
func writePrivate(file string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".writing-*") // 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

func (d description) print(stdout io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(stdout).Encode(d)
	}
	_, err := fmt.Fprintf(stdout, `Issuer:             %s
Organization:       %s
Project:            %s
Prefix of user IDs: %s
Admin's token:      %s
Operator's key:     %s
For development only. Stop with Ctrl-C; the identities stay.
`, d.Issuer, d.OrganizationID, d.ProjectID, d.DevicePrefix, d.AdminTokenFile, d.OperatorKeyFile)
	return err
}
