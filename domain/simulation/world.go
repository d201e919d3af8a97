package simulation

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// World is one simulated fleet. One goroutine, the story's, changes it.
type World struct {
	seed     uint64
	random   *rand.Rand
	key      ed25519.PrivateKey
	backend  *memory.Fleet
	recorder *Recorder
	devices  map[contracts.DeviceID]*device

	operator     *operator.Operator
	stopOperator context.CancelFunc
	operatorDone chan error
	operators    int
}

// NewWorld returns an empty fleet. It must be called inside a synctest bubble.
func NewWorld(seed uint64) *World {
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], seed)
	secret := sha256.Sum256(bytes[:])
	return &World{
		seed:     seed,
		random:   rand.New(rand.NewPCG(seed, 0xf1ee7)), //nolint:gosec // repeatable, not secret
		key:      ed25519.NewKeyFromSeed(secret[:]),
		backend:  memory.New(),
		recorder: NewRecorder(),
		devices:  map[contracts.DeviceID]*device{},
	}
}

func (w *World) capabilities() operator.Capabilities {
	return operator.Capabilities{
		Devices:     w.backend.Devices(),
		Deployments: w.backend.Deployments(),
		Statuses:    w.backend.Statuses(),
		Desired:     w.recorder.Publisher(w.backend.Desired()),
		Observed:    w.backend.Observed(),
		Commands:    w.backend.Commands(),
		Events:      w.backend.Events(),
	}
}

// startOperator lets a new operator process lead.
func (w *World) startOperator(ctx context.Context) {
	running, cancel := context.WithCancel(ctx)
	w.operators++
	w.operator = operator.New(w.capabilities(), w.key, operator.Options{})
	w.stopOperator, w.operatorDone = cancel, make(chan error, 1)
	one, done := w.operator, w.operatorDone
	go func() { done <- one.Run(running) }()
}

// killOperator ends the operator's process.
func (w *World) killOperator() error {
	w.stopOperator()
	return <-w.operatorDone
}

// addDevice registers a device, new or known, and boots it.
func (w *World) addDevice(ctx context.Context, id contracts.DeviceID) error {
	_, err := w.backend.Devices().Create(ctx, domain.FleetDevice{ID: id, Labels: w.randomLabels()})
	if err != nil {
		return err
	}
	if _, known := w.devices[id]; known {
		return nil
	}
	public, _ := w.key.Public().(ed25519.PublicKey)
	d := &device{
		id:      id,
		link:    w.backend.Device(id),
		weather: NewWeather(w.seed ^ uint64(len(w.devices)+1)),
		runtime: memory.NewRuntime(),
		disk:    agent.NewMemoryStore(),
		jitter:  NewWeather(w.seed + uint64(len(w.devices))).jitter,
	}
	w.devices[id] = d
	w.recorder.Disk(id, d.disk)
	d.start(ctx, w.recorder, public)
	return nil
}

func (w *World) randomLabels() contracts.Labels {
	labels := contracts.Labels{"site": pick(w.random, "paris", "lyon", "nice")}
	if w.random.IntN(2) == 0 {
		labels["tier"] = pick(w.random, "gold", "tin")
	}
	return labels
}

func (w *World) randomSpec() contracts.DeploymentSpec {
	selectors := []contracts.LabelSelector{
		{},
		{MatchLabels: map[string]string{"site": "paris"}},
		{MatchLabels: map[string]string{"site": "lyon"}},
		{MatchExpressions: []contracts.SelectorRequirement{{Key: "tier", Operator: contracts.SelectorExists}}},
		{MatchExpressions: []contracts.SelectorRequirement{{Key: "site", Operator: contracts.SelectorNotIn, Values: []string{"nice"}}}},
	}
	selector := selectors[w.random.IntN(len(selectors))]
	services := make([]string, 1+w.random.IntN(2))
	for i := range services {
		services[i] = fmt.Sprintf(`{"name":"s%d","command":["run"],"args":["%d","{{ .device.id }}"]}`, i, w.random.IntN(1000))
	}
	return contracts.DeploymentSpec{
		TargetSelector: &selector,
		Score:          contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: []byte(`{"services":[` + strings.Join(services, ",") + `]}`)},
	}
}

// pickDevice returns a random device that is registered, nil for none.
func (w *World) pickDevice(ctx context.Context) *device {
	registered, err := w.backend.Devices().List(ctx, contracts.LabelSelector{})
	if err != nil || len(registered) == 0 {
		return nil
	}
	return w.devices[registered[w.random.IntN(len(registered))].ID]
}

// sorted returns the devices in order, so that a run follows from its seed.
func (w *World) sorted() []*device {
	all := make([]*device, 0, len(w.devices))
	for _, id := range slices.Sorted(maps.Keys(w.devices)) {
		all = append(all, w.devices[id])
	}
	return all
}

func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }
