// BullMQ: the producer is this process, the worker a child. A line of JSON asks for a round and is answered by one.
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Queue, Worker } from 'bullmq';

const [path, db, role] = process.argv.slice(2);
const connection = { path, db: Number(db), maxRetriesPerRequest: null };
const CONCURRENCY = 100, ABREAST = 50, BATCH = 500;

if (role === 'worker') {
  let done = 0;
  const work = async (job) => {
    if (++done === job.data.total) {
      done = 0;
      process.send('done');
    }
  };
  await new Worker('bench', work, { connection, concurrency: CONCURRENCY }).waitUntilReady();
  process.on('disconnect', () => process.exit(0));
  process.send('ready');
} else {
  const worker = fork(fileURLToPath(import.meta.url), [path, db, 'worker']);
  const told = () => new Promise((resolve) => worker.once('message', resolve));
  await told();
  const defaultJobOptions = { removeOnComplete: true, removeOnFail: true };
  const queue = new Queue('bench', { connection, defaultJobOptions });
  await queue.waitUntilReady();

  const oneByOne = async (total) => {
    let left = total;
    const lane = async () => {
      while (left-- > 0) await queue.add('noop', { total });
    };
    await Promise.all(Array.from({ length: ABREAST }, lane));
  };
  const inBatches = async (total) => {
    const job = { name: 'noop', data: { total } };
    for (let i = 0; i < total; i += BATCH) await queue.addBulk(Array(Math.min(BATCH, total - i)).fill(job));
  };

  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    const { total, way } = JSON.parse(line);
    const [began, end] = [performance.now(), told()];
    await (way === 'batches' ? inBatches : oneByOne)(total);
    await end;
    console.log(JSON.stringify((performance.now() - began) / 1000));
  }
  process.exit(0);
}
