import { ensureRedis } from './redis.ts';

/** Runs once before all tests. */
export default function setup(): void {
  ensureRedis();
}
