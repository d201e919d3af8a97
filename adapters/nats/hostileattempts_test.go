package nats_test

import (
	"slices"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	byBroker = "refused by the broker"
	keyOfB   = "$KV.desired-state.victim"
)

// hostileAttempts are what a device named mallory tries against one named
// victim and against the fleet.
func hostileAttempts() []attempt {
	return slices.Concat(listening(), speaking(), asking(), deceiving(), flooding())
}

func listening() []attempt {
	return []attempt{
		{"hear what others are told", []string{
			contracts.DesiredSubject(victim), contracts.AllDesired, contracts.CommandsSubject(victim), "device-commands.>",
			contracts.SyncSubject(victim), contracts.AllSyncs, "fleet.>", "*.>", "*.*.*", ">",
		}, byBroker, refusedSubscriptions},
		{"hear what others say", []string{
			contracts.ReportsSubject(victim), contracts.AllReports, contracts.HeartbeatSubject(victim), contracts.AllHeartbeats,
			contracts.AllEvents, contracts.EnrollSubject, contracts.EnrollTokenSubject,
		}, byBroker, refusedSubscriptions},
		{"read others' inboxes", []string{
			"_INBOX.>", contracts.InboxPrefix(victim) + ".>", contracts.InboxPrefix(mallory) + "-2.>", contracts.EnrollmentInboxPrefix("token") + ".>",
		}, byBroker, refusedSubscriptions},
		{"listen to the broker", []string{
			"$SYS.>", "$SYS.REQ.USER.AUTH", "$SYS._INBOX.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$KV.>", "_R_.>",
		}, byBroker, refusedSubscriptions},
	}
}

func speaking() []attempt {
	return []attempt{
		{"speak as another device", []string{
			contracts.ReportSubject(victim, contracts.ReportState), contracts.ReportSubject(victim, contracts.ReportInfo),
			contracts.HeartbeatSubject(victim), contracts.SyncSubject(victim),
		}, byBroker, refusedPublications},
		{"give desired state, an old signed one among them", []string{
			contracts.DesiredSubject(victim), contracts.DesiredSubject(mallory),
		}, byBroker, refusedPublications},
		{"command a device", []string{
			contracts.CommandSubject(victim, contracts.VerbExec), contracts.CommandSubject(victim, contracts.VerbReconcile),
			contracts.CommandSubject(mallory, contracts.VerbExec),
		}, byBroker, refusedPublications},
		{"write what is stored", []string{
			keyOfB, "$KV.desired-state.mallory", "$KV.devices.victim", "$KV.devices.mallory", "$KV.deployments.web",
			"$KV.deployment-status.web", "$KV.enrollments.victim", "$KV.leases.operator",
		}, byBroker, refusedPublications},
		{"write the audit, enroll, or make tokens", []string{
			contracts.EventSubject(contracts.EventDeviceOnline, string(victim)), contracts.EventSubject(contracts.EventAccessDenied, string(mallory)),
			contracts.EnrollSubject, contracts.EnrollTokenSubject,
		}, byBroker, refusedPublications},
		{"write into inboxes", []string{
			"_INBOX.x", contracts.InboxPrefix(victim) + ".x", contracts.InboxPrefix(mallory) + ".x", "_R_.x",
		}, byBroker, refusedPublications},
		{"answer a command twice, or where nobody asked", []string{"a second reply", "another reply subject"}, byBroker, manyReplies},
	}
}

func asking() []attempt {
	const direct = "$JS.API.DIRECT.GET.KV_desired-state"
	return []attempt{
		{"ask JetStream, in any form", []string{
			"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.KV_desired-state",
			"$JS.API.STREAM.CREATE.mine", "$JS.API.STREAM.UPDATE.device-reports", "$JS.API.STREAM.DELETE.device-reports",
			"$JS.API.STREAM.PURGE.KV_desired-state", "$JS.API.STREAM.MSG.GET.KV_desired-state", "$JS.API.STREAM.MSG.DELETE.KV_desired-state",
			"$JS.API.STREAM.SNAPSHOT.KV_devices", "$JS.API.STREAM.RESTORE.KV_devices", "$JS.API.STREAM.LEADER.STEPDOWN.KV_devices",
			"$JS.API.STREAM.PEER.REMOVE.KV_devices", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.FLEET",
			direct, direct + "." + keyOfB, direct + ".$KV.desired-state.mallory", "$JS.API.DIRECT.GET.KV_enrollments", "$JS.API.DIRECT.GET.device-reports",
			"$JS.API.CONSUMER.CREATE.KV_desired-state", "$JS.API.CONSUMER.CREATE.KV_desired-state.c", "$JS.API.CONSUMER.CREATE.KV_desired-state.c." + keyOfB,
			"$JS.API.CONSUMER.DURABLE.CREATE.KV_desired-state.c", "$JS.API.CONSUMER.NAMES.KV_desired-state", "$JS.API.CONSUMER.LIST.KV_desired-state",
			"$JS.API.CONSUMER.INFO.KV_desired-state.c", "$JS.API.CONSUMER.DELETE.KV_desired-state.c", "$JS.API.CONSUMER.PAUSE.KV_desired-state.c",
			"$JS.API.CONSUMER.MSG.NEXT.KV_desired-state.c", "$JS.ACK.KV_desired-state.c.1.1.1.1.1", "$JS.FC.KV_desired-state.c.x",
			"$JS.hub.API.STREAM.NAMES", nats.ViewPrefix + ".STREAM.MSG.GET.KV_devices",
		}, byBroker, refusedPublications},
		{"get many documents at once", []string{
			`{"last_by_subj":"` + keyOfB + `"}`, `{"multi_last":["$KV.>"]}`, `{"multi_last":["` + keyOfB + `"],"batch":10}`,
			`{"seq":1,"batch":1000}`, `{"next_by_subj":">","seq":1}`, `{"start_time":"2020-01-01T00:00:00Z"}`,
		}, byBroker, refusedRequests(direct, direct+".$KV.desired-state.mallory", "$JS.API.STREAM.MSG.GET.KV_desired-state")},
		{"have a consumer deliver to others", []string{
			`{"stream_name":"device-reports","config":{"deliver_subject":"fleet.desired.victim"}}`,
			`{"stream_name":"device-reports","config":{"deliver_subject":"` + keyOfB + `","filter_subject":"fleet.report.mallory.>"}}`,
		}, byBroker, refusedRequests("$JS.API.CONSUMER.CREATE.device-reports", "$JS.API.CONSUMER.CREATE.device-reports.c.fleet.report.mallory.>", "$JS.API.CONSUMER.DURABLE.CREATE.device-reports.c")},
		{"ask the broker about others, or end their connections", []string{
			"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.x.KICK", "$SYS.REQ.ACCOUNT.PING.CONNZ",
			"$SYS.REQ.ACCOUNT.FLEET.CONNZ", "$SYS.REQ.USER.INFO", "$SYS.REQ.USER.AUTH", "$SYS.REQ.CLAIMS.LIST",
		}, byBroker, refusedPublications},
	}
}

func deceiving() []attempt {
	elsewhere := []string{
		keyOfB, contracts.DesiredSubject(victim), contracts.CommandSubject(victim, contracts.VerbExec), "$KV.deployments.web",
		contracts.InboxPrefix(victim) + ".x", contracts.InboxPrefix(mallory) + "-2.x", "_INBOX.x",
	}
	return []attempt{
		{"have its desired state sent to others, as the reply subject of a question", elsewhere, "refused by the sync service: it answers below the device's own inbox only", foreignReplies},
		{"have acknowledgements sent to others, as the reply subject of a report", elsewhere, "harmless: what devices write is stored without acknowledgement", acknowledgements},
		{"empty a stream, schedule a message, or change how it is stored", []string{
			"Nats-Rollup: all", "Nats-Rollup: sub", "Nats-TTL: 1s", "Nats-TTL: never", "Nats-Incr: +1",
			"Nats-Schedule: @every 1s, Nats-Schedule-Target: fleet.report.victim.state",
			"Nats-Batch-Id: x, Nats-Batch-Sequence: 1, Nats-Batch-Commit: 1",
			"Nats-Expected-Last-Sequence: 0", "Nats-Expected-Stream: other",
		}, "harmless: the streams that devices write to take none of it", headers},
		{"make another's message look like a duplicate, or its own like a deletion", []string{
			"Nats-Msg-Id: 1", "KV-Operation: PURGE", "KV-Operation: DEL", "Nats-Marker-Reason: Purge",
			"Nats-Sequence: 1, Nats-Subject: " + keyOfB,
		}, "harmless: nobody uses message IDs, and its own report is all it can spoil", headers},
	}
}

func flooding() []attempt {
	return []attempt{
		{"fill the store with subjects of its own", []string{
			"fleet.report.mallory.other", "fleet.report.mallory.state.deep", "fleet.report.mallory.info.1",
		}, "harmless: two reports and a heartbeat of each device are stored, and nothing else", unknownReports},
		{"send what does not decode", []string{"{", "null", `{"generation":-1}`, `{"generation":"x"}`, "\\x00\\xff", "[[[[[[[["}, "harmless: readers leave it out, and log it", malformed},
		{"send too much", []string{"a heartbeat of 64 KiB", "a message above the broker's limit"}, "refused: not stored, or the connection ends", oversized},
		{"hold too many subscriptions", []string{"1,001 on one connection"}, byBroker, manySubscriptions},
	}
}
