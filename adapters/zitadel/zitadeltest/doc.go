// Package zitadeltest emulates as much of Zitadel as a fleet uses, in process: the
// token endpoint and the keys over HTTP, and users, keys, projects, applications,
// authorizations and administrators over gRPC, on one port. It behaves as measured
// on a real server, traps included. It is for tests and development: it holds its
// secrets in the clear and trusts whoever has its administrator's token.
package zitadeltest
