// Command desiredstate prints the signed desired state of the device pi-1, which runs
// one process, for the test of the package. The key is for that test alone: -key prints
// its public half.
package main

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"

	"github.com/nationtech/harmony-fleet/contracts"
)

func main() {
	onlyKey := flag.Bool("key", false, "print the public key instead")
	flag.Parse()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if *onlyKey {
		public, _ := key.Public().(ed25519.PublicKey)
		fmt.Println(contracts.FormatPublicKey(public))
		return
	}
	document, err := contracts.Encode(contracts.DesiredState{
		Device: "pi-1", Generation: 1, HeartbeatInterval: contracts.DefaultHeartbeatInterval,
		Deployments: []contracts.DesiredDeployment{{
			Name: "app", Generation: 1,
			Score: contracts.ReconcileScore{
				Type: contracts.ScoreProcessV0,
				Data: []byte(`{"services":[{"name":"sleep","command":["/usr/bin/sleep"],"args":["987654"]}]}`),
			},
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "desiredstate:", err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(contracts.Sign(document, key))
}
