// The page: draws what the API says, and asks it for everything that changes.
'use strict';

const $ = (selector, root = document) => root.querySelector(selector);
const money = (cents) => (cents / 100).toFixed(2);

let products = [];
let cart = null;

async function api(method, path, body) {
  const response = await fetch('/api' + path, {
    method,
    body: body && JSON.stringify(body),
    headers: body && { 'Content-Type': 'application/json' },
  });
  const document = await response.json();
  if (!response.ok) {
    throw new Error(document.error);
  }
  return document;
}

function say(text) {
  $('#message').textContent = text;
}

function quantityOf(id) {
  const line = cart && cart.items.find((item) => item.product === id);
  return line ? line.quantity : 0;
}

function drawProducts() {
  $('#products').replaceChildren(
    ...products.map((product) => {
      const card = $('#product').content.cloneNode(true);
      $('h3', card).textContent = product.name;
      $('.text', card).textContent = product.text;
      $('.amount', card).textContent = money(product.price_cents);
      $('.stock', card).textContent = `${product.stock} left`;
      const button = $('button', card);
      button.disabled = quantityOf(product.id) >= product.stock;
      button.addEventListener('click', () => attempt(() => add(product.id)));
      return card;
    }),
  );
}

function drawCart() {
  const items = cart ? cart.items : [];
  $('#lines').replaceChildren(
    ...items.map((item) => {
      const line = document.createElement('li');
      const name = document.createElement('span');
      name.textContent = `${item.quantity} × ${item.name}`;
      const price = document.createElement('span');
      price.textContent = money(item.price_cents);
      line.append(name, price);
      return line;
    }),
  );
  $('#total').textContent = money(cart ? cart.total_cents : 0);
  $('#buy').disabled = items.length === 0;
}

async function load() {
  products = (await api('GET', '/products')).products;
  drawProducts();
  drawCart();
}

async function add(id) {
  cart = cart || (await api('POST', '/carts'));
  cart = await api('PUT', `/carts/${cart.id}/items/${id}`, { quantity: quantityOf(id) + 1 });
  say('');
  drawProducts();
  drawCart();
}

async function buy() {
  const order = await api('POST', `/carts/${cart.id}/checkout`);
  cart = await api('GET', `/carts/${cart.id}`);
  say(`Thank you. ${money(order.total_cents)} to pay.`);
  await load();
}

async function attempt(action) {
  try {
    await action();
  } catch (err) {
    say(err.message);
  }
}

$('#buy').addEventListener('click', () => attempt(buy));
attempt(load);
